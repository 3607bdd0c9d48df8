// The parts of the drawing, and which of them belong together.

import { PART_COLOR } from "../../colors";
import type { UnitStep } from "./scene";

export type Part =
  | "input"
  | "hidden_before"
  | "cell_before"
  | "forget_gate"
  | "kept"
  | "input_gate"
  | "candidate"
  | "written"
  | "cell"
  | "bent"
  | "output_gate"
  | "shown"
  | "projection"
  | "hidden";

/** A question that a reader may ask of the whole drawing. */
export type Topic = "states" | "length" | "gates" | "pointwise" | "layers" | "forgetting" | "two";

export type Spot = Part | Topic;

export const PART_TINT: Record<Part, string> = {
  input: "var(--gw-text)",
  hidden_before: PART_COLOR.hidden,
  cell_before: PART_COLOR.cell,
  forget_gate: PART_COLOR.forget_gate,
  kept: PART_COLOR.cell,
  input_gate: PART_COLOR.input_gate,
  candidate: PART_COLOR.candidate,
  written: PART_COLOR.write,
  cell: PART_COLOR.cell,
  bent: PART_COLOR.cell,
  output_gate: PART_COLOR.output_gate,
  shown: PART_COLOR.hidden,
  projection: PART_COLOR.hidden,
  hidden: PART_COLOR.hidden,
};

/** Which number of a unit a part carries; the input and the projection carry none of its own. */
export const PART_NUMBER: Record<Exclude<Part, "input" | "projection">, keyof UnitStep> = {
  hidden_before: "hiddenBefore",
  cell_before: "cellBefore",
  forget_gate: "forget",
  kept: "kept",
  input_gate: "input",
  candidate: "candidate",
  written: "written",
  cell: "cell",
  bent: "bent",
  output_gate: "output",
  shown: "shown",
  hidden: "hidden",
};

/** What goes into a part and comes out of it: this stays in sight while the part is pointed at. */
const NEAR: Record<Part, readonly Part[]> = {
  input: ["forget_gate", "input_gate", "candidate", "output_gate"],
  hidden_before: ["forget_gate", "input_gate", "candidate", "output_gate"],
  cell_before: ["kept"],
  forget_gate: ["kept"],
  kept: ["cell_before", "forget_gate"],
  input_gate: ["written"],
  candidate: ["written"],
  written: ["input_gate", "candidate"],
  cell: ["kept", "written"],
  bent: ["cell"],
  output_gate: ["shown", "hidden"],
  shown: ["output_gate", "bent", "hidden"],
  projection: ["shown", "hidden"],
  hidden: ["output_gate", "bent", "shown", "projection"],
};

const TOPIC_PARTS: Record<Topic, readonly Part[]> = {
  states: ["cell_before", "kept", "cell", "hidden_before", "hidden"],
  length: ["cell_before", "forget_gate", "kept", "input_gate", "candidate", "cell", "output_gate", "hidden"],
  gates: ["forget_gate", "input_gate", "candidate", "output_gate"],
  pointwise: ["kept", "written", "cell", "bent", "shown"],
  layers: ["forget_gate", "input_gate", "candidate", "output_gate", "input", "hidden_before"],
  forgetting: ["cell_before", "forget_gate", "kept"],
  two: ["cell_before", "kept", "cell", "hidden"],
};

export const TOPICS: readonly { topic: Topic; question: string }[] = [
  { topic: "states", question: "What are c and h?" },
  { topic: "length", question: "Why the same length?" },
  { topic: "gates", question: "What are f, i, g and o?" },
  { topic: "pointwise", question: "What do ⊗, + and tanh do?" },
  { topic: "layers", question: "What is a layer?" },
  { topic: "forgetting", question: "How does multiplying forget?" },
  { topic: "two", question: "Why two states?" },
];

function isTopic(spot: Spot): spot is Topic {
  return spot in TOPIC_PARTS;
}

/** Whether a part is what is pointed at or asked about. */
export function isMeant(part: Part, spot: Spot | null): boolean {
  if (spot === null) return false;
  return isTopic(spot) ? TOPIC_PARTS[spot].includes(part) : spot === part;
}

/** Whether a part steps back for what is pointed at. */
export function stepsBack(part: Part, spot: Spot | null): boolean {
  if (spot === null || isMeant(part, spot)) return false;
  return isTopic(spot) || !NEAR[spot].includes(part);
}
