// A symbol with the symbols around it.

import { visible } from "../../format";

export interface Context {
  before: string;
  at: string;
  after: string;
}

/** A symbol as it appears in a line of text; a box for one that the model does not know. */
export function shown(symbols: readonly string[], symbol: number): string {
  return symbol === 0 || symbols[symbol] === undefined ? "□" : visible(symbols[symbol]);
}

/** The symbol at step t, with a number of symbols before and after it. */
export function contextOf(
  symbols: readonly string[],
  sequence: ArrayLike<number>,
  t: number,
  before: number,
  after: number,
): Context {
  const text = (from: number, to: number) => {
    let line = "";
    for (let k = Math.max(0, from); k < Math.min(sequence.length, to); k++) line += plain(symbols, sequence[k]);
    return line;
  };
  return { before: text(t - before, t), at: shown(symbols, sequence[t]), after: text(t + 1, t + 1 + after) };
}

/** Spaces stay spaces, because text with marks for them is hard to read. */
function plain(symbols: readonly string[], symbol: number): string {
  return symbols[symbol] === " " ? "\u00a0" : shown(symbols, symbol);
}
