// The order of the units: by index, by a figure of the diagnosis, or by correlation with a column.

import { effect } from "@preact/signals";
import type { Recording } from "./data/recording";
import type { Direction } from "./data/types";
import type { Figures, State } from "./state";

/** Keep `state.sorted` up to date; returns a function that stops it. */
export function keepOrder(state: State): () => void {
  let latest = 0;
  return effect(() => {
    const asked = ++latest;
    const recording = state.recording.value;
    state.attempt.value; // a retry loads what failed
    if (!recording) return;
    const [row, layer, direction] = [state.row.value, state.layer.value, state.direction.value];
    const order = state.order.value;
    const column = order === "correlation" ? state.column.value : 0;
    const show = (figures: Figures | null) => {
      if (asked !== latest) return;
      const by = order === "index" ? null : figures;
      const units = sorted(recording.meta.layers[layer].hidden, by, order === "half_life");
      state.sorted.value = { order, column, units, figures };
    };
    const wanted =
      order === "correlation"
        ? correlations(recording, row, layer, direction, column)
        : diagnosed(recording, layer, direction, order === "activity" ? "activity" : "half_life");
    wanted.then(show, (error: Error) => {
      show(null);
      if (asked === latest) state.trouble.value = error.message;
    });
  });
}

/** One figure of the diagnosis for each unit of a layer. */
async function diagnosed(
  recording: Recording,
  layer: number,
  direction: Direction,
  name: "half_life" | "activity",
): Promise<Figures> {
  const { layers } = await recording.diagnosis();
  const found = layers.find((one) => one.layer === layer && one.direction === direction);
  if (!found) throw new Error("The diagnosis of this recording does not include this layer.");
  return found[name];
}

/** The largest figure first. Units without a half-life never forget half, and come before all others. */
export function sorted(units: number, figures: Figures | null, noneFirst: boolean): number[] {
  const order = Array.from({ length: units }, (_, unit) => unit);
  if (!figures) return order;
  const none = noneFirst ? Infinity : -Infinity;
  const at = (unit: number) => figures[unit] ?? none;
  // Infinity - Infinity is NaN: compare, do not subtract.
  return order.sort((a, b) => (at(a) === at(b) ? a - b : at(a) > at(b) ? -1 : 1));
}

/** The names that `state.column` indexes: columns of a table, or inputs of the first layer; [] for a text. */
export function comparable(recording: Recording): string[] {
  const { series, text, inputs } = recording.meta;
  return series ? series.columns : text ? [] : inputs;
}

/** Correlation of each unit's cell state with a column over the row; for a text, with the error. */
async function correlations(
  recording: Recording,
  row: number,
  layer: number,
  direction: Direction,
  column: number,
): Promise<Figures> {
  const { series, text, layers, inputs } = recording.meta;
  const name = series ? "columns" : text ? "error" : "inputs";
  const width = series ? series.columns.length : text ? 1 : inputs.length;
  const chosen = Math.min(column, width - 1);
  const [table, cell] = await Promise.all([
    recording.block(row, name),
    recording.quantity(row, layer, direction, "cell"),
  ]);
  const T = recording.meta.rows[row].steps;
  const values = Float64Array.from({ length: T }, (_, t) => table[t * width + chosen]);
  return correlate(cell, layers[layer].hidden, values);
}

/** Pearson's correlation of each column of (T, H) with values (T,), over the steps where there is a value. */
export function correlate(cell: Float32Array, units: number, values: Float64Array): Figures {
  const there = [...values.keys()].filter((t) => !Number.isNaN(values[t]));
  const mean = there.reduce((sum, t) => sum + values[t], 0) / there.length;
  const means = new Float64Array(units);
  for (const t of there) for (let u = 0; u < units; u++) means[u] += cell[t * units + u] / there.length;
  let square = 0;
  const squares = new Float64Array(units);
  const products = new Float64Array(units);
  for (const t of there) {
    const value = values[t] - mean;
    square += value * value;
    for (let u = 0; u < units; u++) {
      const other = cell[t * units + u] - means[u];
      squares[u] += other * other;
      products[u] += other * value;
    }
  }
  return Array.from(products, (product, u) => {
    const size = Math.sqrt(square * squares[u]);
    return size > 0 ? product / size : null;
  });
}
