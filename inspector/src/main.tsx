// The entry: one ES module for a page and for a notebook.

import { render } from "preact";
import { App } from "./App";
import { EmbeddedSource, ServedSource, type Source } from "./data/source";
import { type WidgetModel, WidgetSource } from "./data/widget";
import { asked, keepPlace, readPlace, readRange } from "./hash";
import { listen } from "./keys";
import { keepOrder } from "./order";
import { State } from "./state";
import { keepTheme } from "./theme";
import "uplot/dist/uPlot.min.css";
import "./style.css";

export interface Options {
  /** Whether the element is the page: then the address holds the state, and keys work everywhere. */
  page: boolean;
}

export interface Mounted {
  state: State;
  unmount: () => void;
}

/** Show the inspector in an element. */
export function mount(element: HTMLElement, source: Source, { page }: Options): Mounted {
  const state = new State(source);
  element.classList.add("gatewright");
  element.dataset.host = page ? "page" : "notebook";
  if (!page) {
    // A click gives the element the focus, and JupyterLab then leaves the keys to it.
    element.tabIndex = -1;
    element.dataset.lmSuppressShortcuts = "true";
  }
  const ends = [keepTheme(state, element), keepOrder(state), listen(state, page ? document : element)];
  render(<App state={state} />, element);
  void load(state, page).then(() => {
    if (page) ends.push(keepPlace(state));
    ends.push(
      state.attempt.subscribe((attempt) => void (attempt && !state.recording.peek() && load(state, page))),
    );
  });
  return {
    state,
    unmount: () => {
      for (const end of ends) end();
      render(null, element);
    },
  };
}

async function load(state: State, page: boolean): Promise<void> {
  try {
    const entries = await state.source.entries();
    state.entries.value = entries;
    state.asked.value = true;
    const wanted = page ? asked("recording") : null;
    const entry = entries.find(({ id }) => id === wanted) ?? entries.find(({ first }) => first) ?? entries.at(-1);
    if (!entry) return;
    const place = (page && location.hash.slice(1)) || entry.place;
    readPlace(state, place);
    await state.show(entry.id);
    if (!state.recording.value) return;
    if (asked("t", place) === "0") state.goTo(0);
    readRange(state, place);
  } catch (error) {
    state.trouble.value = error instanceof Error ? error.message : String(error);
  }
}

const page = document.getElementById("gatewright-page");
if (page) {
  const { base } = page.dataset;
  const source = base ? new ServedSource(base) : new EmbeddedSource(document);
  const { state } = mount(page, source, { page: true });
  // For the console, and for tests.
  Object.assign(page, { gatewright: state });
}

/** Called by anywidget for each view of the widget; the returned function is called when the view is removed. */
function show({ model, el }: { model: WidgetModel; el: HTMLElement }): () => void {
  const source = new WidgetSource(model);
  const { state, unmount } = mount(el, source, { page: false });
  Object.assign(el, { gatewright: state });
  return () => {
    unmount();
    source.close();
  };
}

export default { render: show };
