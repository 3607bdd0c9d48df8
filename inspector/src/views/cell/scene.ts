// The numbers of one step in the drawing.

import type { Cell } from "../../data/anatomy";
import { GATES, type Gate, type NumberedPart } from "../../data/cell";
import type { Recording } from "../../data/recording";
import type { Direction, Edit } from "../../data/types";

/** The blocks of one layer in one direction, (T, H) unless stated. */
export interface Blocks {
  recording: Recording;
  /** What the cell consists of. */
  kind: Cell;
  row: number;
  layer: number;
  direction: Direction;
  steps: number;
  /** H. */
  size: number;
  /** P: as H without a projection. */
  output: number;
  gates: Record<Gate, Float32Array>;
  cell: Float32Array;
  /** What the output activation reads: `cell`, or that normalised. */
  read: Float32Array;
  /** What each step adds to the cell state, recorded only where that is not i g. */
  written: Float32Array | null;
  /** What each step keeps of the cell state, recorded only where that is not f. */
  kept: Float32Array | null;
  /** (T, P), recorded only with a projection, zoneout or a patch. */
  hidden: Float32Array | null;
  /** (H,) and (P,). */
  cell_initial: Float32Array;
  hidden_initial: Float32Array;
  edits: readonly Edit[];
}

/** The numbers of one unit at one step; NaN in places that the cell does not have, and of `hidden_before` and `hidden` NaN where a projection has no such place. */
export type UnitStep = { unit: number } & Record<NumberedPart, number>;

/** Below this a cell state that was set anew is 0: the rounding of what was written, over a forget gate. */
const ROUNDING = 1e-6;

export async function loadBlocks(
  recording: Recording,
  row: number,
  layer: number,
  direction: Direction,
): Promise<Blocks> {
  const of = (name: string) => recording.block(row, `${layer}/${direction}/${name}`) as Promise<Float32Array>;
  const shape = recording.meta.layers[layer];
  const ifThere = (name: string) => (recording.has(row, `${layer}/${direction}/${name}`) ? of(name) : null);
  const [gates, cell, cell_initial, hidden_initial, read, written, kept, hidden] = await Promise.all([
    recording.gates(row, layer, direction),
    of("cell"),
    of("cell_initial"),
    of("hidden_initial"),
    recording.read(row, layer, direction),
    ifThere("written"),
    ifThere("kept"),
    ifThere("hidden"),
  ]);
  return {
    ...{
      recording,
      kind: recording.cell,
      row,
      layer,
      direction,
      steps: recording.meta.rows[row].steps,
      size: shape.hidden,
      output: shape.output,
    },
    ...{ gates, cell, read, written, kept, hidden, cell_initial, hidden_initial },
    edits: recording.meta.edits.filter(
      (edit) => edit.row === row && edit.layer === layer && edit.direction === direction,
    ),
  };
}

/** The step that was read before t; null at the start, which in reverse is the end of the sequence. */
export function stepBefore(blocks: Blocks, t: number): number | null {
  const before = blocks.direction === "forward" ? t - 1 : t + 1;
  return before < 0 || before >= blocks.steps ? null : before;
}

/**
 * Whether a step keeps nothing of the cell state before, though its forget gate does: what calls the layer has reset it,
 * or the cell state is patched.
 */
export function isSetAnew(blocks: Blocks, t: number, unit: number): boolean {
  const { cell_clip, zoneout_cell } = blocks.kind.features;
  const at = t * blocks.size + unit;
  return !(cell_clip || zoneout_cell) && blocks.kept?.[at] === 0 && blocks.gates.forget_gate[at] !== 0;
}

/** Differences of a hidden state that are more than rounding: those of a patch. */
const PATCHED = 1e-3;

/** Whether the hidden state of a step is not what the cell computes: it is patched. */
export function isPatched(blocks: Blocks, t: number, unit: number): boolean {
  if (!blocks.hidden || blocks.kind.projected || blocks.kind.features.zoneout_hidden) return false;
  const at = t * blocks.size + unit;
  const computed = blocks.gates.output_gate[at] * blocks.recording.bend(blocks.read[at]);
  return Math.abs(blocks.hidden[at] - computed) > PATCHED;
}

/** The cell state at the start of a step, including manual additions. */
export function cellBefore(blocks: Blocks, t: number, unit: number): number {
  const at = t * blocks.size + unit;
  const { forget_gate, input_gate, candidate } = blocks.gates;
  if (blocks.written && isSetAnew(blocks, t, unit)) {
    const value = (blocks.written[at] - input_gate[at] * candidate[at]) / forget_gate[at];
    return Math.abs(value) < ROUNDING ? 0 : value;
  }
  const before = stepBefore(blocks, t);
  const carried = before === null ? blocks.cell_initial[unit] : blocks.cell[before * blocks.size + unit];
  return blocks.edits.reduce(
    (sum, edit) => (edit.t === t && edit.unit === unit ? sum + edit.added : sum),
    carried,
  );
}

function hiddenAt(blocks: Blocks, t: number | null, unit: number): number {
  if (unit >= blocks.output) return NaN;
  if (t === null) return blocks.hidden_initial[unit];
  if (blocks.hidden) return blocks.hidden[t * blocks.output + unit];
  const at = t * blocks.size + unit;
  return blocks.gates.output_gate[at] * blocks.recording.bend(blocks.read[at]);
}

const PASSED = ["kept", "written", "bent", "shown"] as const;

export function unitStep(blocks: Blocks, t: number, unit: number): UnitStep {
  const at = t * blocks.size + unit;
  const { kind } = blocks;
  const cell_before = cellBefore(blocks, t, unit);
  const isReset = cell_before === 0 && isSetAnew(blocks, t, unit);
  const numbers: Partial<Record<NumberedPart, number>> = {
    hidden_before: isReset ? 0 : hiddenAt(blocks, stepBefore(blocks, t), unit),
    cell_before,
    // As recorded: computing the sum would round a second time.
    cell: blocks.cell[at],
    normal: blocks.read[at],
    hidden: hiddenAt(blocks, t, unit),
  };
  for (const gate of GATES) numbers[gate] = blocks.gates[gate][at];
  for (const part of kind.operations) numbers[part] ??= kind.computed(part, numbers);
  // What a cell does not compute has the number of what stands for it.
  for (const part of PASSED) numbers[part] ??= numbers[kind.standIn(part) as NumberedPart] ?? NaN;
  return { unit, ...(numbers as Record<NumberedPart, number>) };
}

/** The units that write most at t, or whose cell state changes most; the largest first. */
export function mostActive(blocks: Blocks, t: number, by: "write" | "change", count: number): number[] {
  const score = Float64Array.from({ length: blocks.size }, (_, unit) => {
    const at = t * blocks.size + unit;
    return by === "write"
      ? Math.abs(blocks.written ? blocks.written[at] : blocks.gates.input_gate[at] * blocks.gates.candidate[at])
      : Math.abs(blocks.cell[at] - cellBefore(blocks, t, unit));
  });
  return Array.from(score.keys())
    .sort((a, b) => score[b] - score[a])
    .slice(0, count);
}

/** Maximum |c| of a unit over the sequence: the scale of its bars and of the belt. */
export function largestCell(blocks: Blocks, unit: number): number {
  let largest = Math.abs(blocks.cell_initial[unit]);
  for (let at = unit; at < blocks.cell.length; at += blocks.size)
    largest = Math.max(largest, Math.abs(blocks.cell[at]));
  return largest || 1;
}
