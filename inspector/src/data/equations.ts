// The equations of a cell as text, from its table. An underscore begins an index: "W_f x + U_f h + b_f".

import type { Cell } from "./anatomy";
import type { Gate, Part } from "./cell";

/** One equation for each layer, and for both states; new states have a prime. */
export function equationsOf(cell: Cell): string[] {
  const { parts } = cell;
  const layers = (["forget_gate", "input_gate", "candidate", "output_gate"] as const).filter((gate) =>
    cell.has(gate),
  );
  const lines = layers.map((gate) => `${rawLetter(cell, gate)} = ${layerOf(cell, gate, rawLetter(cell, gate))}`);
  if (cell.has("normaliser")) {
    lines.push("n′ = f n + i", "keep = f n / n′", "share = i / n′");
  }
  lines.push(`${parts.cell.letter}′ = ${expanded(cell, "cell")}`);
  lines.push(`h′ = ${cell.projected ? "W_hr " : ""}${projectedText(cell)}`);
  return lines;
}

/** The right side of the equation of a gate or the candidate, with an index for its weights. */
export function layerOf(cell: Cell, gate: Gate, index = ""): string {
  const { features, parts } = cell;
  const { layer, operation, reads } = parts[gate];
  if (!layer) return operation ? cell.formula(gate) : "1";
  const of = (matrix: string) => (index ? `${matrix}_${index}` : matrix);
  const sum = `${of("W")} x + ${of("U")} h`;
  const terms = [features.layer_norm ? `norm(${sum})` : sum];
  if (reads.includes("cell_before")) terms.push(`${of("p")} ⊗ ${parts.cell_before.letter}`);
  if (reads.includes("cell")) terms.push(`${of("p")} ⊗ ${parts.cell.letter}′`);
  if (features.bias) terms.push(of("b"));
  const name = layer.symbol;
  return name === "linear" ? terms.join(" + ") : `${name}(${terms.join(" + ")})`;
}

/** In an sLSTM the layers give f and i, which the normaliser turns into what is kept and shared. */
function rawLetter(cell: Cell, gate: Gate): string {
  if (cell.features.kind === "slstm" && gate === "forget_gate") return "f";
  if (cell.features.kind === "slstm" && gate === "input_gate") return "i";
  return cell.parts[gate].letter;
}

function projectedText(cell: Cell): string {
  const text = cell.parts.hidden.operation
    ? expanded(cell, "hidden")
    : expanded(cell, cell.end, cell.end !== "cell");
  return cell.projected && cell.end !== "cell" ? `(${text})` : text;
}

/** A formula down to gates and states. */
function expanded(cell: Cell, part: Part, top = true): string {
  const { operation, reads, letter } = cell.parts[part];
  if (!top && part === "cell") return `${letter}′`;
  if (!operation || part === "input_gate") return letter;
  const [before, between, after] = operation.around;
  const texts = reads.slice(0, operation.kind === "function" ? 1 : 2).map((read) => {
    const text = expanded(cell, read, false);
    const isSum = cell.parts[read].operation?.kind === "sum" && read !== "cell";
    return isSum && operation.kind !== "function" ? `(${text})` : text;
  });
  return before + texts.join(between) + after;
}
