// The one table of a cell's parts: names, letters, colours and connections, for every cell that `CellSpec` describes. The
// drawing, the arithmetic, the captions, the status line and the heat-map read it through `anatomy.ts`, so that a part
// has the same name, letter and colour in every view.

import { trimmed } from "../format";
import { activation, type Features, symbolOf } from "./features";

/** The layers that read x and h, in the order i, f, g, o; here the candidate counts as a gate. */
export const GATES = ["input_gate", "forget_gate", "candidate", "output_gate"] as const;
export type Gate = (typeof GATES)[number];
/** The gates that open and close: 0 to 1. */
export type Switch = Exclude<Gate, "candidate">;

/** A part of a cell: a state, a layer, or the result of a pointwise operation; in the order of computation. */
export const PARTS = [
  "input",
  "hidden_before",
  "cell_before",
  "normaliser",
  "forget_gate",
  "input_gate",
  "candidate",
  "output_gate",
  "kept",
  "written",
  "summed",
  "clipped",
  "cell",
  "normal",
  "bent",
  "shown",
  "projection",
  "hidden",
] as const;
export type Part = (typeof PARTS)[number];

/** The parts with one number for each unit: x has a size of its own, and the projection is a matrix. */
export type NumberedPart = Exclude<Part, "input" | "projection" | "normaliser">;

/** 0 to 1, -1 to 1, or any number. */
export type Range = "share" | "signed" | "unbounded";

/** A pointwise operation: one line of the arithmetic. */
export interface Operation {
  /** A product or a sum of two parts, a function of one, or a weighted mean of two. */
  kind: "product" | "sum" | "function" | "mean";
  /** In the drawing: "⊗", "+", "tanh", "clip ±3", ... */
  sign: string;
  /** Name of its line in the arithmetic. */
  verb: string;
  /** The formula: the texts before, between and after the letters of its operands. */
  around: readonly [string, string, string];
  /** NaN where it depends on other units too. */
  compute: (a: number, b: number) => number;
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
  /**
   * Text in its box, if it is a layer of learned weights: the activation function, or the matrix; and what happens
   * before the activation, and its name where that is not the part's.
   */
  layer?: { symbol: string; sub?: string; first?: string; name?: string };
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

const PRODUCT = {
  kind: "product",
  sign: "⊗",
  around: ["", " ⊗ ", ""],
  compute: (a, b) => a * b,
} as const satisfies Omit<Operation, "verb">;
const SUM = { kind: "sum", sign: "+", around: ["", " + ", ""], compute: (a, b) => a + b } as const satisfies Omit<
  Operation,
  "verb"
>;

function functionOf(sign: string, verb: string, compute: (a: number) => number, name = sign): Operation {
  return { kind: "function", sign, verb, around: [`${name}(`, "", ")"], compute };
}

/** The expectation under zoneout: a part of the state before, and the rest of the new one. */
function zoneout(rate: number): Operation {
  return {
    kind: "mean",
    sign: "zoneout",
    verb: "zone",
    around: [`${trimmed(rate)} `, ` + ${trimmed(1 - rate)} `, ""],
    compute: (before, after) => rate * before + (1 - rate) * after,
  };
}

/** The parts that a cell does not have. */
export function absentOf(f: Features, projected: boolean): ReadonlySet<Part> {
  const lacks: [Part, boolean][] = [
    ["normaliser", f.kind !== "slstm"],
    ["input_gate", !f.input_gate],
    ["forget_gate", !f.forget_gate],
    ["output_gate", !f.output_gate],
    ["kept", !f.forget_gate],
    ["written", !f.input_gate],
    ["summed", !f.cell_clip && !f.zoneout_cell],
    ["clipped", !f.cell_clip || !f.zoneout_cell],
    ["normal", !f.layer_norm],
    ["bent", f.output_activation === "identity"],
    ["shown", !f.output_gate],
    ["projection", !projected],
  ];
  return new Set(lacks.filter(([, absent]) => absent).map(([part]) => part));
}

/** The entries of all parts; `reads` may name parts that the cell does not have. */
export function table(f: Features): Record<Part, CellPart> {
  return { ...states(f), ...gates(f), ...memory(f), ...output(f) } as Record<Part, CellPart>;
}

type Entries = Partial<Record<Part, CellPart>>;

function states({ kind }: Features): Entries {
  const c = kind === "slstm" ? "a" : "c";
  return {
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
      letter: c,
      step: "before",
      color: COLOR.cell,
      range: "unbounded",
      reads: [],
    },
  };
}

function gates(f: Features): Entries {
  const s = f.kind === "slstm";
  const layerOf = (name: Parameters<typeof symbolOf>[0]) => ({
    symbol: symbolOf(name),
    ...(f.layer_norm && { first: "norm" }),
  });
  const reads: readonly Part[] = ["hidden_before", "input", ...(s ? ["normaliser" as const] : [])];
  const early: readonly Part[] = f.peephole ? [...reads, "cell_before"] : reads;
  const gate = layerOf(f.gate_activation);
  const forget: CellPart = {
    name: s ? "keep gate" : "forget gate",
    label: s ? "Keep gate: the forget gate, normalised" : "Forget gate",
    letter: s ? "keep" : "f",
    step: "now",
    color: COLOR.forget,
    range: "share",
    reads: early,
    layer: s ? { ...layerOf(f.forget_gate_activation), name: "forget gate" } : gate,
  };
  const input: CellPart = {
    name: s ? "share gate" : "input gate",
    label: s ? "Share gate: the input gate, normalised" : "Input gate",
    letter: s ? "share" : "i",
    step: "now",
    color: COLOR.input,
    range: "share",
    reads: early,
    layer: s ? { ...layerOf("exponential"), name: "input gate" } : gate,
  };
  const rest: Operation = {
    kind: "function",
    sign: "1 −",
    verb: "rest",
    around: ["1 − ", "", ""],
    compute: (a) => 1 - a,
  };
  const { layer: _, ...unlearned } = input;
  return {
    normaliser: {
      name: "normaliser",
      label: "Normaliser",
      letter: "n",
      step: "now",
      color: COLOR.cell,
      range: "unbounded",
      reads: ["hidden_before", "input"],
    },
    forget_gate: forget,
    input_gate: f.coupled
      ? { ...unlearned, label: "Input gate: 1 minus the forget gate", reads: ["forget_gate"], operation: rest }
      : input,
    candidate: {
      name: "candidate",
      label: "Candidate",
      letter: s ? "z" : "g",
      step: "now",
      color: COLOR.candidate,
      range: f.candidate_activation === "identity" ? "unbounded" : "signed",
      reads: ["hidden_before", "input"],
      layer: layerOf(f.candidate_activation),
    },
    output_gate: {
      name: "output gate",
      label: "Output gate",
      letter: "o",
      step: "now",
      color: COLOR.output,
      range: "share",
      reads: f.peephole ? ["hidden_before", "input", "cell"] : ["hidden_before", "input"],
      layer: gate,
    },
  };
}

function memory(f: Features): Entries {
  const [c, i, k, g] = f.kind === "slstm" ? ["a", "share", "keep", "z"] : ["c", "i", "f", "g"];
  const add: Operation = { ...SUM, verb: "add" };
  const bound = f.cell_clip;
  const clip: Operation = {
    kind: "function",
    sign: `clip ±${trimmed(bound)}`,
    verb: "clip",
    around: ["clip(", "", `, ±${trimmed(bound)})`],
    compute: (a) => Math.max(-bound, Math.min(bound, a)),
  };
  const entry = { color: COLOR.cell, range: "unbounded" } as const;
  const cell = { ...entry, name: "cell state", letter: c, step: "now" } as const;
  return {
    kept: {
      ...entry,
      name: "kept",
      label: `Forgetting: ${k} times ${c}`,
      letter: "kept",
      reads: ["cell_before", "forget_gate"],
      operation: { ...PRODUCT, verb: "forget" },
    },
    written: {
      name: "written",
      label: `Writing: ${i} times ${g}`,
      letter: "written",
      color: COLOR.candidate,
      range: f.candidate_activation === "identity" ? "unbounded" : "signed",
      reads: ["input_gate", "candidate"],
      operation: { ...PRODUCT, verb: "filter" },
    },
    summed: {
      ...entry,
      name: "sum",
      label: "Addition: what is kept plus what is written",
      letter: "sum",
      reads: ["kept", "written"],
      operation: add,
    },
    clipped: {
      ...entry,
      name: "clipped sum",
      label: "Clipping",
      letter: "clipped",
      reads: ["summed"],
      operation: clip,
    },
    cell: f.zoneout_cell
      ? {
          ...cell,
          label: "Zoneout: the new cell state",
          reads: ["cell_before", f.cell_clip ? "clipped" : "summed"],
          operation: zoneout(f.zoneout_cell),
        }
      : f.cell_clip
        ? { ...cell, label: "Clipping: the new cell state", reads: ["summed"], operation: clip }
        : { ...cell, label: "Addition: the new cell state", reads: ["kept", "written"], operation: add },
  };
}

function output(f: Features): Entries {
  const c = f.kind === "slstm" ? "a" : "c";
  const act = symbolOf(f.output_activation);
  const read = f.layer_norm ? "n" : c;
  const range = f.output_activation === "identity" && f.kind !== "slstm" ? "unbounded" : "signed";
  const bent = f.output_activation === "identity" ? read : act === "tanh" ? `tanh ${read}` : "bent";
  const hidden = { name: "hidden state", letter: "h", step: "now", color: COLOR.hidden, range } as const;
  return {
    normal: {
      name: "normalised cell state",
      label: "Layer normalisation of the cell state",
      letter: "n",
      step: "now",
      color: COLOR.cell,
      range: "unbounded",
      reads: ["cell"],
      operation: functionOf("norm", "norm", () => NaN),
    },
    bent: {
      name: `${act} of the ${f.layer_norm ? "normalised " : ""}cell state`,
      label: `${act} of the ${f.layer_norm ? "normalised " : ""}cell state`,
      letter: bent,
      step: "now",
      color: COLOR.cell,
      range,
      reads: ["normal"],
      operation: functionOf(act, "bend", activation(f.output_activation)),
    },
    // The hidden state itself, or the input of the projection or of zoneout.
    shown: {
      name: "shown",
      label: `Showing: o times ${bent}`,
      letter: "m",
      step: "now",
      color: COLOR.hidden,
      range,
      reads: ["output_gate", "bent"],
      operation: { ...PRODUCT, verb: "show" },
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
    hidden: f.zoneout_hidden
      ? {
          ...hidden,
          label: "Zoneout: the new hidden state",
          reads: ["hidden_before", "shown"],
          operation: zoneout(f.zoneout_hidden),
        }
      : { ...hidden, label: "The new hidden state", reads: ["shown", "projection"] },
  };
}
