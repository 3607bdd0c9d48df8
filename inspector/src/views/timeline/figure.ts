import type { Recording } from "../../data/recording";
import { comparable } from "../../order";
import type { Figures, Sorted } from "../../state";

/** A figure for each unit, and the ends of its scale. */
export interface Figure {
  name: string;
  explained: string;
  values: Figures;
  low: number;
  high: number;
  /** Half-lives differ by orders of magnitude. */
  log: boolean;
}

export function figureOf({ order, column, figures: values }: Sorted, recording: Recording): Figure | null {
  if (!values) return null;
  if (order === "correlation") {
    const name = comparable(recording)[column] ?? "error";
    const explained = `Correlation of each unit's cell state with ${name}`;
    return { name: `r, ${name}`, explained, values, low: -1, high: 1, log: false };
  }
  const most = values.reduce<number>((largest, value) => Math.max(largest, value ?? 0), 0);
  if (order === "activity") {
    const explained = "Standard deviation of the hidden state over the steps";
    return { name: "activity", explained, values, low: 0, high: most || 1, log: false };
  }
  const explained =
    "Steps until a unit has forgotten half of its state (between resets, if it resets), on a logarithmic scale";
  const power = Math.ceil(Math.log10(Math.max(10, most)));
  return { name: "half-life", explained, values, low: 0.1, high: 10 ** power, log: true };
}
