// The state of the page in its address: a link shows the same, and so does reloading.

import { effect } from "@preact/signals";
import { QUANTITIES } from "./data/quantities";
import type { Order, Place, State, View } from "./state";

const VIEWS: readonly View[] = ["timeline", "cell", "ledger", "units", "whatif"];
const ORDERS: readonly Order[] = ["index", "half_life", "activity", "correlation"];
/** Milliseconds: browsers refuse more than a hundred changes of the address in half a minute. */
const PAUSE = 400;

/** What a link shows; absent fields are not named by it. */
export interface Link extends Place {
  recording?: string;
}

/** Read the text after the `#` of a link. Values that no recording can have are left out. */
export function readLink(hash: string): Link {
  const named = new URLSearchParams(hash);
  const text = (name: string) => named.get(name) ?? undefined;
  const whole = (name: string) => {
    const number = Number(text(name) || NaN);
    return Number.isInteger(number) && number >= 0 ? number : undefined;
  };
  const among = <T extends string>(name: string, known: readonly T[]) =>
    known.find((value) => value === text(name));
  const units = (text("units") ?? "").split(",").filter(Boolean).map(Number);
  const [from, to] = (text("range") ?? "").split("-").map(Number);
  const link = {
    recording: text("recording"),
    view: among("view", VIEWS),
    row: whole("row"),
    layer: whole("layer"),
    direction: among("direction", ["forward", "reverse"]),
    t: whole("t"),
    units: units.length && units.every((unit) => Number.isInteger(unit) && unit >= 0) ? units : undefined,
    quantity: among("quantity", QUANTITIES),
    range: to > from ? [from, to] : undefined,
    order: among("order", ORDERS),
    each: named.has("each") ? text("each") === "1" : undefined,
    column: whole("column"),
  };
  return Object.fromEntries(Object.entries(link).filter(([, value]) => value !== undefined)) as Link;
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

/** Call back when the user goes to another link in the page; returns a function that stops it. */
export function onLink(go: (hash: string) => void): () => void {
  // Not the hash of `location`: `keepPlace` may have replaced it.
  const changed = (event: HashChangeEvent) => go(new URL(event.newURL).hash.slice(1));
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
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
