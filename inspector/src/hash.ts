// The state of the page in its address: a link shows the same, and so does reloading.

import { batch, effect } from "@preact/signals";
import { QUANTITIES, type Quantity } from "./data/cell";
import type { Order, State, View } from "./state";

const VIEWS: readonly View[] = ["timeline", "cell", "ledger", "units", "whatif"];
const ORDERS: readonly Order[] = ["index", "half_life", "activity", "correlation"];
/** Milliseconds: browsers refuse more than a hundred changes of the address in half a minute. */
const PAUSE = 400;

/** The value of a parameter in a place, by default in the address; null without one. */
export function asked(name: string, place = location.hash.slice(1)): string | null {
  return new URLSearchParams(place).get(name);
}

/** Read a place before the recording is loaded. `State.show` corrects what the recording does not have. */
export function readPlace(state: State, place = location.hash.slice(1)): void {
  const whole = (name: string) => {
    const number = Number(asked(name, place) ?? NaN);
    return Number.isInteger(number) && number >= 0 ? number : undefined;
  };
  const among = <T extends string>(name: string, known: readonly T[]) =>
    known.find((one) => one === asked(name, place));
  batch(() => {
    const view = among("view", VIEWS);
    if (view && (view !== "whatif" || state.source.whatIf)) state.view.value = view;
    state.row.value = whole("row") ?? state.row.value;
    state.layer.value = whole("layer") ?? state.layer.value;
    state.direction.value = among("direction", ["forward", "reverse"]) ?? state.direction.value;
    state.t.value = whole("t") ?? state.t.value;
    state.quantity.value = among("quantity", Object.keys(QUANTITIES) as Quantity[]) ?? state.quantity.value;
    state.order.value = among("order", ORDERS) ?? state.order.value;
    state.column.value = whole("column") ?? state.column.value;
    if (asked("each", place) !== null) state.each.value = asked("each", place) === "1";
    const units = (asked("units", place) ?? "").split(",").filter(Boolean).map(Number);
    if (units.length && units.every((unit) => Number.isInteger(unit) && unit >= 0)) state.units.value = units;
  });
}

/** Read the visible steps from a place, once the recording is loaded. */
export function readRange(state: State, place: string): void {
  const [from, to] = (asked("range", place) ?? "").split("-").map(Number);
  if (to > from) state.zoom(from, to);
}

/** Keep the address up to date; returns a function that stops it. */
export function keepPlace(state: State): () => void {
  let timer = 0;
  const write = (hash: string) => {
    try {
      history.replaceState(history.state, "", `#${hash}`);
    } catch {
      return; // A frame may lack the permission; the page works without it.
    }
  };
  const stop = effect(() => {
    const hash = place(state);
    clearTimeout(timer);
    if (hash) timer = window.setTimeout(write, PAUSE, hash);
  });
  return () => {
    stop();
    clearTimeout(timer);
  };
}

function place(state: State): string {
  const recording = state.recording.value;
  if (!recording) return "";
  const [from, to] = state.range.value.map(Math.round);
  const parts: [string, string | number, boolean][] = [
    ["view", state.view.value, true],
    ["recording", recording.meta.id, state.entries.value.length > 1],
    ["row", state.row.value, recording.meta.rows.length > 1],
    ["layer", state.layer.value, recording.meta.layers.length > 1],
    ["direction", state.direction.value, state.direction.value === "reverse"],
    ["t", state.t.value, true],
    ["units", state.units.value.join(","), true],
    ["quantity", state.quantity.value, true],
    ["range", `${from}-${to}`, from > 0 || to < state.steps.value],
    ["order", state.order.value, true],
    ["each", 1, state.each.value],
    ["column", state.column.value, state.order.value === "correlation"],
  ];
  return parts
    .filter(([, , wanted]) => wanted)
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
}
