// The entry: one ES module for a page and for a notebook.

import { render } from "preact";
import { App } from "./App";
import { EmbeddedSource, ServedSource, type Source } from "./data/source";
import { type WidgetModel, WidgetSource } from "./data/widget";
import { keepPlace, onLink } from "./hash";
import { listen } from "./keys";
import { Opening } from "./opening";
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
  const opening = new Opening(state, page ? location.hash.slice(1) : "");
  const ends = [
    keepTheme(state, element),
    keepOrder(state),
    listen(state, page ? document : element),
    state.attempt.subscribe((attempt) => void (attempt && !state.recording.peek() && opening.start())),
  ];
  if (page)
    ends.push(
      keepPlace(state),
      onLink((hash) => opening.follow(hash)),
    );
  render(<App state={state} />, element);
  void opening.start();
  return {
    state,
    unmount: () => {
      for (const end of ends) end();
      render(null, element);
    },
  };
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
