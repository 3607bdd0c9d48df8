// The chosen ledger in the order of the sequence, for both directions of reading.

import { type Column, type Layer, type Ledger, ledger, type Shares, secant, weighted } from "../../data/ledger";
import type { Recording } from "../../data/recording";
import type { Direction } from "../../data/types";

export interface Account {
  /** The step whose ledger it is. */
  query: number;
  direction: Direction;
  /** Position of the first entry: `shares[k - from]` belongs to step k. */
  from: number;
  shares: Float64Array;
  /** The write of step k, and the fraction of it that is left; null where shares are of a sum over units. */
  written: Float64Array | null;
  survival: Float64Array | null;
  initial: number;
  edited: number;
  /** Bias of the head; 0 for a cell state. */
  bias: number;
  /** The sum of all parts, and the number that it has to equal. */
  sum: number;
  total: number;
}

/** Columns of a unit, with the recorded c. */
export interface UnitBlocks {
  column: Column;
  cell: Float32Array;
  unit: number;
  direction: Direction;
  size: number;
  steps: number;
}

export async function loadUnit(
  recording: Recording,
  row: number,
  layer: number,
  direction: Direction,
  unit: number,
): Promise<UnitBlocks> {
  const [column, cell] = await Promise.all([
    recording.column(row, layer, direction, unit),
    recording.block(row, `${layer}/${direction}/cell`) as Promise<Float32Array>,
  ]);
  return {
    column,
    cell,
    unit,
    direction,
    size: recording.meta.layers[layer].hidden,
    steps: recording.meta.rows[row].steps,
  };
}

/** How many steps the layer reads before the one at a position. */
export function readBefore(direction: Direction, steps: number, t: number): number {
  return direction === "forward" ? t : steps - 1 - t;
}

export function unitAccount(blocks: UnitBlocks, query: number): Account {
  const { column, direction, steps } = blocks;
  const n = readBefore(direction, steps, query);
  const made: Ledger = ledger(column, n);
  const written = Float64Array.from({ length: n + 1 }, (_, k) => column.input_gate[k] * column.candidate[k]);
  const order = (array: Float64Array) => (direction === "forward" ? array : array.reverse());
  return {
    query,
    direction,
    from: direction === "forward" ? 0 : query,
    shares: order(made.shares),
    survival: order(made.survival),
    written: order(written),
    initial: made.initial,
    edited: made.edited,
    bias: 0,
    sum: total(made),
    total: blocks.cell[query * blocks.size + blocks.unit],
  };
}

/** The data for an output of the head: the last layer, forward, without a projection. */
export interface HeadBlocks {
  recording: Recording;
  row: number;
  layer: Layer;
  output_gate: Float32Array;
  cell: Float32Array;
  /** (outputs, H) and (outputs,). */
  head: Float32Array;
  bias: Float32Array;
  size: number;
}

/** Whether outputs of the head can be split at a layer. */
export function canSplitHead(recording: Recording, row: number, layer: number, direction: Direction): boolean {
  const { meta } = recording;
  const { hidden, output, directions } = meta.layers[layer];
  const last = layer === meta.layers.length - 1 && direction === "forward" && directions.length === 1;
  return last && hidden === output && meta.readouts.length > 0 && recording.has(row, "head");
}

export async function loadHead(recording: Recording, row: number, layer: number): Promise<HeadBlocks> {
  const of = (name: string) => recording.block(row, name) as Promise<Float32Array>;
  const [{ output_gate, ...gates }, cell, cell_initial, head, bias] = await Promise.all([
    recording.gates(row, layer, "forward"),
    of(`${layer}/forward/cell`),
    of(`${layer}/forward/cell_initial`),
    of("head"),
    of("head_bias"),
  ]);
  const added = new Map<number, { unit: number; added: number }[]>();
  for (const edit of recording.meta.edits) {
    if (edit.row === row && edit.layer === layer && edit.direction === "forward")
      added.set(edit.t, [...(added.get(edit.t) ?? []), edit]);
  }
  const size = recording.meta.layers[layer].hidden;
  return {
    layer: { ...gates, cell_initial, added },
    output_gate,
    cell,
    head,
    bias,
    size,
    recording,
    row,
  };
}

export function headAccount(blocks: HeadBlocks, output: number, query: number): Account {
  const { size } = blocks;
  const weight = blocks.head.subarray(output * size, (output + 1) * size);
  const now = (array: Float32Array) => array.subarray(query * size, (query + 1) * size);
  const [o, c] = [now(blocks.output_gate), now(blocks.cell)];
  const made = weighted(blocks.layer, secant(weight, o, c), query);
  const bias = blocks.bias[output];
  const direct = weight.reduce((sum, w, u) => sum + w * o[u] * Math.tanh(c[u]), bias);
  return {
    ...{ query, direction: "forward", from: 0, shares: made.shares, written: null, survival: null },
    ...{ initial: made.initial, edited: made.edited, bias },
    sum: total(made) + bias,
    total: direct,
  };
}

function total({ shares, initial, edited }: Shares): number {
  return shares.reduce((sum, share) => sum + share, initial + edited);
}

/** Shares below this fraction of the largest one do not matter. */
const NOTHING = 1e-3;

/** Steps by the size of their remainder, the largest first. */
export function largest({ shares, from }: Account, count: number): number[] {
  const best: number[] = [];
  for (let k = 0; k < shares.length; k++) {
    const size = Math.abs(shares[k]);
    if (size === 0 || (best.length === count && size <= Math.abs(shares[best[count - 1]]))) continue;
    const place = best.findIndex((other) => Math.abs(shares[other]) < size);
    best.splice(place < 0 ? best.length : place, 0, k);
    best.length = Math.min(best.length, count);
  }
  return best.filter((k) => Math.abs(shares[k]) >= NOTHING * Math.abs(shares[best[0]])).map((k) => k + from);
}

/** The fewest steps up to the query that hold a part of all |shares|: from (inclusive) to (exclusive). */
export function reach({ shares, from, query, direction }: Account, part: number): [number, number] {
  const all = shares.reduce((sum, share) => sum + Math.abs(share), 0);
  const last = shares.length - 1;
  let n = 0;
  let held = 0;
  for (; n < last; n++) {
    held += Math.abs(shares[direction === "forward" ? last - n : n]);
    if (held >= part * all) break;
  }
  return direction === "forward" ? [query - n, query + 1] : [from, from + n + 1];
}
