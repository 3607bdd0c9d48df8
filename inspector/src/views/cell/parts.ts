// What a reader can point at or ask about, and the parts of the drawing that it concerns.

import { GATES, neighbours, OPERATIONS, type Part } from "../../data/cell";

/** A question that a reader may ask of the whole drawing. */
export type Topic = "states" | "length" | "gates" | "pointwise" | "layers" | "forgetting" | "two";

export type Spot = Part | Topic;

const TOPIC_PARTS: Record<Topic, readonly Part[]> = {
  states: ["cell_before", "kept", "cell", "hidden_before", "hidden"],
  length: ["cell_before", "forget_gate", "kept", "input_gate", "candidate", "cell", "output_gate", "hidden"],
  gates: GATES,
  pointwise: OPERATIONS,
  layers: [...GATES, "input", "hidden_before"],
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

/** Whether a part is pointed at or belongs to the question. */
export function isMeant(part: Part, spot: Spot | null): boolean {
  if (spot === null) return false;
  return isTopic(spot) ? TOPIC_PARTS[spot].includes(part) : spot === part;
}

/** Whether a part is dimmed while something else is pointed at. */
export function stepsBack(part: Part, spot: Spot | null): boolean {
  if (spot === null || isMeant(part, spot)) return false;
  return isTopic(spot) || !neighbours(spot).includes(part);
}
