// A comparison of two runs, the original and the changed one, step by step.

import type { Values } from "../../components/Lines";
import type { Recording } from "../../data/recording";
import type { Meta } from "../../data/types";
import { ahead, median } from "../timeline/forecast";
import { known, lineOf, outputNames } from "../timeline/tracks";

/** The blocks of a run that are compared; null where the recording has none. */
export interface Run {
  meta: Meta;
  row: number;
  error: Float32Array | null;
  /** `forecast`, `scores` or `output`, by the kind of the recording. */
  prediction: Float32Array;
  /** `columns`, for series. */
  table: Float32Array | null;
  /** For text. */
  symbols: Int32Array | null;
}

const PREDICTION = { series: "forecast", text: "scores", layers: "output" } as const;

export async function runOf(recording: Recording, row: number): Promise<Run> {
  const { meta } = recording;
  const optional = (name: string) => (recording.has(row, name) ? recording.block(row, name) : null);
  const [error, prediction, table, symbols] = await Promise.all([
    optional("error"),
    recording.block(row, PREDICTION[meta.kind]),
    meta.kind === "series" ? recording.block(row, "columns") : null,
    meta.kind === "text" ? recording.block(row, "symbols") : null,
  ]);
  return { meta, row, error, prediction, table, symbols } as Run;
}

/** The compared quantity: a target some steps ahead (series), or an output (layers). */
export interface Look {
  target: number;
  lead: number;
  output: number;
}

/** Lines over the steps; `name` includes the unit. */
export interface Comparison {
  kind: Meta["kind"];
  name: string;
  truth: Values | null;
  before: Values;
  after: Values | null;
  /** After minus before. */
  difference: Values | null;
  /** The distance of the predictions, and its name; null without a changed run. */
  change: { values: Values; name: string } | null;
}

export function compare(before: Run, after: Run | null, look: Look): Comparison {
  const drawn = (run: Run) => lineToCompare(run, look);
  const first = drawn(before);
  const second = after && drawn(after);
  const difference =
    second && first.map((value, t) => (value === null || second[t] === null ? null : second[t] - value));
  return {
    kind: before.meta.kind,
    name: nameOf(before.meta, look),
    truth: before.table && lineOf(before.table, look.target, before.meta.series!.columns.length),
    before: first,
    after: second,
    difference,
    change: after && difference && changeOf(before, after, difference),
  };
}

function lineToCompare({ meta, prediction, error }: Run, look: Look): Values {
  if (meta.kind === "series") return ahead(prediction, meta.series!, look.target, look.lead, median(meta.series!));
  if (meta.kind === "layers") return lineOf(prediction, look.output, outputs(meta));
  return error ? Array.from(error, known) : [];
}

export function outputs(meta: Meta): number {
  return meta.blocks[0].output.shape[1];
}

function nameOf(meta: Meta, { target, output }: Look): string {
  if (meta.kind === "series") return meta.series!.targets[target];
  return meta.kind === "text" ? "error of each character, in nats" : outputNames(meta)[output];
}

function changeOf(before: Run, after: Run, difference: Values): Comparison["change"] {
  if (before.meta.kind !== "text")
    return { values: difference.map((value) => value && Math.abs(value)), name: "change of the prediction" };
  return {
    values: moved(before.prediction, after.prediction, before.meta.text!.symbols.length),
    name: "share of probability that moved",
  };
}

/** Total variation at each step, half of sum |p - q| over the symbols: 0 where they agree, 1 if disjoint. */
function moved(before: Float32Array, after: Float32Array, symbols: number): Values {
  const T = before.length / symbols;
  return Array.from({ length: T }, (_, t) => {
    let sum = 0;
    for (let k = t * symbols; k < (t + 1) * symbols; k++)
      sum += Math.abs(Math.exp(after[k]) - Math.exp(before[k]));
    return sum / 2;
  });
}

export interface Largest {
  t: number;
  value: number;
  /** First and last step with at least 1% of it. */
  felt: [number, number];
}

/** The largest distance of the predictions; null where they are the same everywhere. */
export function largest(change: Values): Largest | null {
  let t = -1;
  change.forEach((value, k) => {
    if (value !== null && (t < 0 || value > change[t]!)) t = k;
  });
  const value = change[t];
  if (!value) return null;
  const counts = (other: number | null) => other !== null && other >= 0.01 * value;
  return { t, value, felt: [change.findIndex(counts), change.findLastIndex(counts)] };
}

/** Mean errors over the steps with a number in both. */
export function meanErrors(before: Run, after: Run | null): { before: number; after: number | null } | null {
  if (!before.error) return null;
  let count = 0;
  const sums = [0, 0];
  before.error.forEach((value, t) => {
    const other = after?.error?.[t] ?? value;
    if (Number.isNaN(value) || Number.isNaN(other)) return;
    count++;
    sums[0] += value;
    sums[1] += other;
  });
  if (!count) return null;
  return { before: sums[0] / count, after: after?.error ? sums[1] / count : null };
}

/** The symbols that either run considers likeliest after step t, as (symbol, before, after). */
export function topSymbols(
  before: Run,
  after: Run | null,
  t: number,
  count: number,
): [number, number, number | null][] {
  const V = before.meta.text!.symbols.length;
  const at = (run: Run) => Array.from(run.prediction.subarray(t * V, (t + 1) * V), Math.exp);
  const p = at(before);
  const q = after && at(after);
  const rank = p
    .map((value, symbol): [number, number] => [symbol, Math.max(value, q?.[symbol] ?? 0)])
    .sort((a, b) => b[1] - a[1]);
  return rank.slice(0, count).map(([symbol]) => [symbol, p[symbol], q?.[symbol] ?? null]);
}
