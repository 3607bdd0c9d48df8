// The surprise of a language model at a character, as a tint on which text stays readable.

import type { TextMeta } from "../../data/types";

/** Maximum strength of the tint: text on it keeps a contrast of 4.5. */
export const DARKEST = 0.55;

/** The error of a uniform prediction, in nats: the darkest tint. */
export function blindGuess({ symbols }: TextMeta): number {
  return Math.log(symbols.length);
}

/** Strength of the tint, 0 to 1, of an error in nats. */
export function strength(nats: number, most: number): number {
  return Number.isNaN(nats) ? 0 : Math.max(0, Math.min(1, nats / most));
}

/** For CSS: a translucent tint. */
export function tint(nats: number, most: number): string {
  return `color-mix(in srgb, var(--gw-surprise) ${Math.round(strength(nats, most) * DARKEST * 100)}%, transparent)`;
}
