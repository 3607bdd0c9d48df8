// The keys that work in every view. Space belongs to the Cell view.

import { batch } from "@preact/signals";
import type { State, View } from "./state";

export const VIEW_KEYS: readonly View[] = ["timeline", "cell", "ledger", "units", "whatif"];

/** Listen for keys in an element or the whole page; returns a function that stops it. */
export function listen(state: State, target: HTMLElement | Document): () => void {
  const press = (event: Event) => {
    const key = event as KeyboardEvent;
    if (key.ctrlKey || key.metaKey || key.altKey || key.defaultPrevented || takesKeys(key)) return;
    if (!act(state, key.key, key.shiftKey)) return;
    key.preventDefault();
    // A notebook has keys of its own.
    key.stopPropagation();
  };
  target.addEventListener("keydown", press);
  return () => target.removeEventListener("keydown", press);
}

function takesKeys(event: KeyboardEvent): boolean {
  const target = event.composedPath()[0];
  if (!(target instanceof HTMLElement)) return false;
  // A checkbox keeps the focus after a click and does not need these keys.
  return target.isContentEditable || target.matches("input:not([type=checkbox]), select, textarea");
}

function act(state: State, key: string, shift: boolean): boolean {
  if (key === "?") return done(() => (state.help.value = !state.help.value));
  if (key === "Escape" && state.help.value) return done(() => (state.help.value = false));
  const view = /^[1-5]$/.test(key) ? VIEW_KEYS[Number(key) - 1] : undefined;
  if (view && (view !== "whatif" || state.source.whatIf)) return done(() => state.open(view));
  // The other keys act on the shown recording.
  return state.recording.value !== null && actOnRecording(state, key, shift);
}

function actOnRecording(state: State, key: string, shift: boolean): boolean {
  const stride = shift ? 10 : 1;
  switch (key) {
    case "ArrowLeft":
      return done(() => state.goTo(state.t.value - stride));
    case "ArrowRight":
      return done(() => state.goTo(state.t.value + stride));
    case "ArrowUp":
      return done(() => nextUnit(state, -stride));
    case "ArrowDown":
      return done(() => nextUnit(state, stride));
    case "Home":
      return done(() => state.goTo(0));
    case "End":
      return done(() => state.goTo(state.steps.value - 1));
    case "+":
    case "=":
      return done(() => zoomAbout(state, 1 / 1.5));
    case "-":
      return done(() => zoomAbout(state, 1.5));
  }
  return false;
}

function done(what: () => void): true {
  batch(what);
  return true;
}

/** Focus on the unit a number of rows further down. */
function nextUnit(state: State, places: number): void {
  const shown = state.shown.value;
  if (!shown.length) return;
  const place = shown.indexOf(state.unit.value) + places;
  state.units.value = [shown[Math.max(0, Math.min(shown.length - 1, place))]];
}

/** Zoom around the chosen step, which stays in place. */
function zoomAbout(state: State, factor: number): void {
  const [from, to] = state.range.value;
  const t = state.t.value >= from && state.t.value < to ? state.t.value + 0.5 : (from + to) / 2;
  state.zoom(t - (t - from) * factor, t + (to - t) * factor);
}
