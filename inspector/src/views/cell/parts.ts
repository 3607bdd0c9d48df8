// What a reader can point at or ask about, and the parts of the drawing that it concerns.

import type { Cell } from "../../data/anatomy";
import { GATES, PARTS, type Part } from "../../data/cell";

/** A question that a reader may ask of the whole drawing. */
export type Topic = "states" | "length" | "gates" | "pointwise" | "layers" | "forgetting" | "two" | "variant";

export type Spot = Part | Topic;

const TOPIC_PARTS: Record<Topic, (cell: Cell) => readonly Part[]> = {
  states: () => ["cell_before", "kept", "cell", "hidden_before", "hidden"],
  length: () => ["cell_before", "forget_gate", "kept", "input_gate", "candidate", "cell", "output_gate", "hidden"],
  gates: () => GATES,
  pointwise: (cell) => cell.operations,
  layers: (cell) => [...GATES.filter((gate) => cell.parts[gate].layer), "input", "hidden_before"],
  forgetting: () => ["cell_before", "forget_gate", "kept"],
  two: () => ["cell_before", "kept", "cell", "hidden"],
  variant: () => PARTS,
};

/** The questions that a reader may ask of a cell. */
export function topicsOf(cell: Cell): { topic: Topic; question: string }[] {
  const { parts } = cell;
  const c = parts.cell.letter;
  // In the order in which the drawing has them.
  const gates = (["forget_gate", "input_gate", "candidate", "output_gate"] as const).filter((gate) =>
    cell.has(gate),
  );
  const signs = new Set(cell.operations.map((part) => parts[part].operation!.sign.replace(/ ±.*/, "")));
  const own = cell.isPlain ? [] : [{ topic: "variant" as const, question: "How does this cell differ?" }];
  return [
    ...own,
    { topic: "states", question: `What are ${c} and h?` },
    { topic: "length", question: "Why the same length?" },
    { topic: "gates", question: `What are ${listed(gates.map((gate) => parts[gate].letter))}?` },
    { topic: "pointwise", question: `What ${signs.size > 1 ? "do" : "does"} ${listed([...signs])} do?` },
    { topic: "layers", question: "What is a layer?" },
    ...(cell.has("forget_gate")
      ? [{ topic: "forgetting" as const, question: "How does multiplying forget?" }]
      : []),
    { topic: "two", question: "Why two states?" },
  ];
}

/** "f, i, g and o". */
export function listed(words: readonly string[]): string {
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}` : words.join("");
}

function isTopic(spot: Spot): spot is Topic {
  return spot in TOPIC_PARTS;
}

/** Whether a part is pointed at or belongs to the question. */
export function isMeant(cell: Cell, part: Part, spot: Spot | null): boolean {
  if (spot === null) return false;
  return isTopic(spot) ? TOPIC_PARTS[spot](cell).includes(part) : spot === part;
}

/** Whether a part is dimmed while something else is pointed at. */
export function stepsBack(cell: Cell, part: Part, spot: Spot | null): boolean {
  if (spot === null || isMeant(cell, part, spot)) return false;
  return isTopic(spot) || !cell.neighbours(spot).includes(part);
}
