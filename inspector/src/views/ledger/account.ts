// The chosen ledger in the order of the sequence, for both directions of reading.

import {
  type Column,
  type Layer,
  type Ledger,
  ledger,
  type Shares,
  type Shown,
  splitOf,
  weighted,
  weightsOf,
} from "../../data/ledger";
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
  /** Where a cell state is a weighted average: the weight of each candidate, the candidates, and the initial state's. */
  average: { weights: Float64Array; candidates: Float64Array; initial: number } | null;
  initial: number;
  edited: number;
  /** The part of an output that belongs to no step: what zoneout carries, and shifts of layer normalisation. */
  rest: number;
  /** With residual connections: the part of an output that comes from the hidden states of other layers. */
  others: number;
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
  /** Whether the cell state is a weighted average of candidates. */
  averages: boolean;
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
    averages: recording.meta.weighted || recording.cell.features.kind === "slstm",
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
  const order = (array: Float64Array) => (direction === "forward" ? array : array.reverse());
  const average = blocks.averages && {
    weights: order(weightsOf(column, made)),
    candidates: order(column.candidate.slice(0, n + 1)),
    initial: made.left,
  };
  return {
    query,
    direction,
    from: direction === "forward" ? 0 : query,
    shares: order(made.shares),
    survival: order(made.survival),
    written: order(column.written.slice(0, n + 1)),
    average: average || null,
    initial: made.initial,
    edited: made.edited,
    rest: 0,
    others: 0,
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
  /** The numbers of a step. */
  at: (t: number) => Shown;
  /** The hidden state of a unit after a step. */
  hidden: (t: number, unit: number) => number;
  /** With residual connections the head reads the sum of the hidden states of all layers: those of the others. */
  others: readonly Float32Array[];
  /** (outputs, H) and (outputs,). */
  head: Float32Array;
  bias: Float32Array;
  size: number;
}

/** Whether outputs of the head can be split at a layer. */
export function canSplitHead(recording: Recording, row: number, layer: number, direction: Direction): boolean {
  const { meta } = recording;
  const { hidden, output, directions } = meta.layers[layer];
  const read = meta.residual || layer === meta.layers.length - 1;
  const forward = direction === "forward" && directions.length === 1;
  return read && forward && hidden === output && meta.readouts.length > 0 && recording.has(row, "head");
}

export async function loadHead(recording: Recording, row: number, layer: number): Promise<HeadBlocks> {
  const of = (name: string) => recording.block(row, name) as Promise<Float32Array>;
  const place = `${layer}/forward`;
  const ifThere = (name: string) => (recording.has(row, `${place}/${name}`) ? of(`${place}/${name}`) : null);
  const [gates, kept, written, cell, cell_initial, hidden_initial] = await Promise.all([
    recording.gates(row, layer, "forward"),
    recording.quantity(row, layer, "forward", "kept"),
    ifThere("written"),
    of(`${place}/cell`),
    of(`${place}/cell_initial`),
    of(`${place}/hidden_initial`),
  ]);
  const [normal, scale, shown, head, bias] = await Promise.all([
    ifThere("normal"),
    ifThere("normal_scale"),
    ifThere("hidden"),
    of("head"),
    of("head_bias"),
  ]);
  const below = recording.meta.residual ? recording.meta.layers.map((_, k) => k).filter((k) => k !== layer) : [];
  const others = await Promise.all(below.map((k) => recording.quantity(row, k, "forward", "hidden")));
  const added = new Map<number, { unit: number; added: number }[]>();
  for (const edit of recording.meta.edits) {
    if (edit.row === row && edit.layer === layer && edit.direction === "forward")
      added.set(edit.t, [...(added.get(edit.t) ?? []), edit]);
  }
  const { bend, cell: kind } = recording;
  const { input_gate, candidate, output_gate } = gates;
  const size = recording.meta.layers[layer].hidden;
  const read = normal ?? cell;
  const now = (array: Float32Array, t: number) => array.subarray(t * size, (t + 1) * size);
  return {
    layer: { kept, input_gate, candidate, written, cell_initial, added },
    at: (t) => ({
      output_gate: now(output_gate, t),
      cell: now(cell, t),
      normal: normal && now(normal, t),
      scale: scale && now(scale, t),
      activation: bend,
      zoneout: kind.features.zoneout_hidden,
      hidden_before: !shown ? [] : t > 0 ? now(shown, t - 1) : hidden_initial,
    }),
    hidden: (t, u) => (shown ? shown[t * size + u] : output_gate[t * size + u] * bend(read[t * size + u])),
    ...{ others, head, bias, size, recording, row },
  };
}

export function headAccount(blocks: HeadBlocks, output: number, query: number): Account {
  const { size } = blocks;
  const weight = blocks.head.subarray(output * size, (output + 1) * size);
  const { factors, rest } = splitOf(weight, blocks.at(query));
  const made = weighted(blocks.layer, factors, query);
  const bias = blocks.bias[output];
  const ofLayers = (values: Float32Array) => weight.reduce((sum, w, u) => sum + w * values[query * size + u], 0);
  const others = blocks.others.reduce((sum, values) => sum + ofLayers(values), 0);
  const direct = weight.reduce((sum, w, u) => sum + w * blocks.hidden(query, u), bias + others);
  return {
    ...{ query, direction: "forward", from: 0, shares: made.shares, written: null, survival: null, average: null },
    ...{ initial: made.initial, edited: made.edited, rest, others, bias },
    sum: total(made) + rest + others + bias,
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
