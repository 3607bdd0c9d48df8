// The output of the head that is split.

import type { HeadBlocks } from "./account";

/** `came`: the symbol after the query, undefined at the end, where the likeliest is used instead. */
export function outputOf(
  asked: number | "came" | "likely",
  blocks: HeadBlocks,
  query: number,
  came: number | undefined,
): number {
  if (typeof asked === "number") return asked;
  return asked === "came" && came !== undefined ? came : likeliest(blocks, query);
}

export function likeliest({ head, bias, hidden, others, size }: HeadBlocks, t: number): number {
  const shown = Float64Array.from({ length: size }, (_, u) =>
    others.reduce((sum, values) => sum + values[t * size + u], hidden(t, u)),
  );
  let best = 0;
  let most = -Infinity;
  for (let output = 0; output < bias.length; output++) {
    let score = bias[output];
    for (let u = 0; u < size; u++) score += head[output * size + u] * shown[u];
    if (score > most) [best, most] = [output, score];
  }
  return best;
}
