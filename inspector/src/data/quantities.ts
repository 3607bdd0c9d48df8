// What the heat-map can show: parts of the cell, and quantities that follow from them.

import type { Cell } from "./anatomy";
import type { Gate, Range } from "./cell";

/** A quantity of the heat-map; `hidden` and `write` may be derived, `survival` depends on the chosen step. */
export const QUANTITIES = [
  "cell",
  "hidden",
  "input_gate",
  "forget_gate",
  "candidate",
  "output_gate",
  "write",
  "survival",
] as const;
export type Quantity = (typeof QUANTITIES)[number];

export interface Measure {
  name: string;
  letter: string;
  color: string;
  range: Range;
  /** One sentence that explains it. */
  says: string;
}

export class Measures {
  readonly of: Readonly<Record<Quantity, Measure>>;
  /** The quantities that the cell has, in the order of the buttons that choose one. */
  readonly present: readonly Quantity[];

  constructor(cell: Cell) {
    this.of = measuresOf(cell);
    const derived: readonly Quantity[] = ["write", "survival"];
    this.present = QUANTITIES.filter((quantity) => derived.includes(quantity) || cell.has(quantity as Gate));
  }

  /** Whether the numbers of a quantity have a sign, and thus colours on both sides of 0. */
  hasSign(quantity: Quantity): boolean {
    return this.of[quantity].range !== "share";
  }
}

function measuresOf(cell: Cell): Record<Quantity, Measure> {
  const { parts, features } = cell;
  const s = features.kind === "slstm";
  const [i, f, g] = [parts.input_gate, parts.forget_gate, parts.candidate];
  const of = (part: Gate | "cell" | "hidden", says: string): Measure => {
    const { name, letter, color, range } = parts[part];
    return { name, letter, color, range, says };
  };
  const changed = [features.cell_clip ? "clipping" : "", features.zoneout_cell ? "zoneout" : ""].filter(Boolean);
  const after = changed.length ? `, after ${changed.join(" and ")}` : "";
  return {
    cell: of(
      "cell",
      s
        ? "What each unit stores: a weighted average of what it has read."
        : "What each unit stores: the long-term memory.",
    ),
    hidden: of("hidden", "The part of its memory that each unit shows to the next step and to the next layer."),
    input_gate: of(
      "input_gate",
      s
        ? "The share of the candidate in each unit's memory, from 0 to 1: what the unit does not keep."
        : `How much of the candidate each unit lets in, from 0 (closed) to 1 (open)${features.coupled ? "; here 1 − f" : ""}.`,
    ),
    forget_gate: of("forget_gate", "How much of its memory each unit keeps, from 0 (nothing) to 1 (everything)."),
    candidate: of(
      "candidate",
      cell.has("input_gate")
        ? `What each unit could write into its memory, before the ${i.name}.`
        : "What each unit writes into its memory; there is no input gate.",
    ),
    output_gate: of("output_gate", "How much of its memory each unit shows, from 0 (nothing) to 1 (everything)."),
    // Most writes are small, so the scale adapts to the numbers.
    write: {
      name: "write",
      letter: after ? "written" : cell.has("input_gate") ? `${i.letter} ⊙ ${g.letter}` : g.letter,
      color: parts.written.color,
      range: "unbounded",
      says: cell.has("input_gate")
        ? `What each unit adds to its memory: ${i.name} times candidate${after}.`
        : `What each unit adds to its memory: the candidate${after}.`,
    },
    survival: {
      name: "survival",
      letter: `∏ ${after ? "kept" : cell.has("forget_gate") ? f.letter : "1"}`,
      color: f.color,
      range: "share",
      says: "The part of each step's write that is left at the chosen step.",
    },
  };
}
