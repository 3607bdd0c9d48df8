// The cell as the page shows it: one table of its parts. The drawing, the arithmetic, the captions, the status line and
// the heat-map read it, so that a part has the same name, letter and colour in every view.

/** The layers that read x and h, in the order i, f, g, o; here the candidate counts as a gate. */
export const GATES = ["input_gate", "forget_gate", "candidate", "output_gate"] as const;
export type Gate = (typeof GATES)[number];

/** A part of the cell: a state, a layer, or the result of a pointwise operation. */
export type Part =
  | Gate
  | "input"
  | "hidden_before"
  | "cell_before"
  | "kept"
  | "written"
  | "cell"
  | "bent"
  | "shown"
  | "projection"
  | "hidden";

/** The parts with one number for each unit: x has a size of its own, and the projection is a matrix. */
export type NumberedPart = Exclude<Part, "input" | "projection">;

/** 0 to 1, -1 to 1, or any number. */
export type Range = "share" | "signed" | "unbounded";

/** A pointwise operation: one line of the arithmetic. */
export interface Operation {
  sign: "⊗" | "+" | "tanh";
  /** Name of its line in the arithmetic. */
  verb: string;
}

export interface CellPart {
  name: string;
  /** Accessible name in the drawing. */
  label: string;
  letter: string;
  /** The step of its index. */
  step?: "before" | "now";
  color: string;
  range: Range;
  /** The parts it is computed from, in the order of the formula. */
  reads: readonly Part[];
  operation?: Operation;
  /** Text in its box, if it is a layer of learned weights: the activation function, or the matrix. */
  layer?: { symbol: string; sub?: string };
}

// Custom properties of style.css (after Okabe & Ito 2008).
const COLOR = {
  text: "var(--gw-text)",
  input: "var(--gw-input)",
  forget: "var(--gw-forget)",
  candidate: "var(--gw-candidate)",
  output: "var(--gw-output)",
  cell: "var(--gw-cell)",
  hidden: "var(--gw-hidden)",
};

const INPUTS: readonly Part[] = ["hidden_before", "input"];

export const CELL: Readonly<Record<Part, CellPart>> = {
  input: {
    name: "input",
    label: "Input",
    letter: "x",
    step: "now",
    color: COLOR.text,
    range: "unbounded",
    reads: [],
  },
  hidden_before: {
    name: "hidden state",
    label: "Hidden state before the step",
    letter: "h",
    step: "before",
    color: COLOR.hidden,
    range: "signed",
    reads: [],
  },
  cell_before: {
    name: "cell state",
    label: "Cell state before the step",
    letter: "c",
    step: "before",
    color: COLOR.cell,
    range: "unbounded",
    reads: [],
  },
  forget_gate: {
    name: "forget gate",
    label: "Forget gate",
    letter: "f",
    step: "now",
    color: COLOR.forget,
    range: "share",
    reads: INPUTS,
    layer: { symbol: "σ" },
  },
  input_gate: {
    name: "input gate",
    label: "Input gate",
    letter: "i",
    step: "now",
    color: COLOR.input,
    range: "share",
    reads: INPUTS,
    layer: { symbol: "σ" },
  },
  candidate: {
    name: "candidate",
    label: "Candidate",
    letter: "g",
    step: "now",
    color: COLOR.candidate,
    range: "signed",
    reads: INPUTS,
    layer: { symbol: "tanh" },
  },
  output_gate: {
    name: "output gate",
    label: "Output gate",
    letter: "o",
    step: "now",
    color: COLOR.output,
    range: "share",
    reads: INPUTS,
    layer: { symbol: "σ" },
  },
  kept: {
    name: "kept",
    label: "Forgetting: f times c",
    letter: "kept",
    color: COLOR.cell,
    range: "unbounded",
    reads: ["cell_before", "forget_gate"],
    operation: { sign: "⊗", verb: "forget" },
  },
  written: {
    name: "written",
    label: "Writing: i times g",
    letter: "written",
    color: COLOR.candidate,
    range: "signed",
    reads: ["input_gate", "candidate"],
    operation: { sign: "⊗", verb: "filter" },
  },
  cell: {
    name: "cell state",
    label: "Addition: the new cell state",
    letter: "c",
    step: "now",
    color: COLOR.cell,
    range: "unbounded",
    reads: ["kept", "written"],
    operation: { sign: "+", verb: "add" },
  },
  bent: {
    name: "tanh of the cell state",
    label: "tanh of the cell state",
    letter: "tanh c",
    step: "now",
    color: COLOR.cell,
    range: "signed",
    reads: ["cell"],
    operation: { sign: "tanh", verb: "bend" },
  },
  // The hidden state itself, or, with a projection, the input of the projection.
  shown: {
    name: "shown",
    label: "Showing: o times tanh c",
    letter: "m",
    step: "now",
    color: COLOR.hidden,
    range: "signed",
    reads: ["output_gate", "bent"],
    operation: { sign: "⊗", verb: "show" },
  },
  projection: {
    name: "projection",
    label: "Projection",
    letter: "W_hr",
    color: COLOR.hidden,
    range: "unbounded",
    reads: ["shown"],
    layer: { symbol: "W", sub: "hr" },
  },
  hidden: {
    name: "hidden state",
    label: "The new hidden state",
    letter: "h",
    step: "now",
    color: COLOR.hidden,
    range: "signed",
    reads: ["shown", "projection"],
  },
};

export const PARTS = Object.keys(CELL) as Part[];
/** The parts that are pointwise operations, in the order in which a step computes them. */
export const OPERATIONS = PARTS.filter((part) => CELL[part].operation) as NumberedPart[];
/** The gates that open and close: 0 to 1. */
export type Switch = Exclude<Gate, "candidate">;
export const SWITCHES = GATES.filter((gate) => CELL[gate].range === "share") as Switch[];

const COMPUTE: Record<Operation["sign"], (a: number, b: number) => number> = {
  "⊗": (a, b) => a * b,
  "+": (a, b) => a + b,
  tanh: (a) => Math.tanh(a),
};

/** The result of an operation from the numbers of its operands. */
export function computed(part: NumberedPart, numbers: Partial<Record<Part, number>>): number {
  const { operation, reads } = CELL[part];
  const [a, b] = reads.map((operand) => numbers[operand] ?? NaN);
  return operation ? COMPUTE[operation.sign](a, b) : NaN;
}

/** The parts that read a part. */
export function fedBy(part: Part): Part[] {
  return PARTS.filter((other) => CELL[other].reads.includes(part));
}

/**
 * The parts that stay bright while one is pointed at: for an operation or the projection those that it reads, for all
 * others those that read it. `shown` and `hidden` are the two ends of one line and stay bright together.
 */
export function neighbours(part: Part): Part[] {
  const { operation, reads } = CELL[part];
  const near = part === "hidden" || part === "projection" || operation ? reads : fedBy(part);
  const more =
    part === "hidden" ? CELL.shown.reads : part === "shown" || near.includes("shown") ? ["hidden" as const] : [];
  return [...new Set([...near, ...more])];
}

/** A quantity of the heat-map; `hidden` and `write` are derived from others, `survival` depends on the chosen step. */
export type Quantity = Gate | "cell" | "hidden" | "write" | "survival";

export interface Measure {
  name: string;
  letter: string;
  color: string;
  range: Range;
  /** One sentence that explains it. */
  says: string;
}

function measureOf(part: Gate | "cell" | "hidden", says: string): Measure {
  const { name, letter, color, range } = CELL[part];
  return { name, letter, color, range, says };
}

/** In the order of the buttons that choose one. */
export const QUANTITIES: Readonly<Record<Quantity, Measure>> = {
  cell: measureOf("cell", "What each unit stores: the long-term memory."),
  hidden: measureOf(
    "hidden",
    "The part of its memory that each unit shows to the next step and to the next layer.",
  ),
  input_gate: measureOf("input_gate", "How much of the candidate each unit lets in, from 0 (closed) to 1 (open)."),
  forget_gate: measureOf(
    "forget_gate",
    "How much of its memory each unit keeps, from 0 (nothing) to 1 (everything).",
  ),
  candidate: measureOf("candidate", "What each unit could write into its memory, before the input gate."),
  output_gate: measureOf(
    "output_gate",
    "How much of its memory each unit shows, from 0 (nothing) to 1 (everything).",
  ),
  // Most writes are small, so the scale adapts to the numbers.
  write: {
    name: "write",
    letter: "i ⊙ g",
    color: CELL.written.color,
    range: "unbounded",
    says: "What each unit adds to its memory: input gate times candidate.",
  },
  survival: {
    name: "survival",
    letter: "∏ f",
    color: CELL.forget_gate.color,
    range: "share",
    says: "The part of each step's write that is left at the chosen step.",
  },
};

/** Whether the numbers of a quantity have a sign, and thus colours on both sides of 0. */
export function hasSign(quantity: Quantity): boolean {
  return QUANTITIES[quantity].range !== "share";
}

/** The minimum and the maximum of a gate. */
export function limits(gate: Gate): [number, number] {
  return CELL[gate].range === "share" ? [0, 1] : [-1, 1];
}
