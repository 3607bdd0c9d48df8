// How surprised a language model was by a character, as a tint that text stays readable on.

import type { TextMeta } from "../../data/types";

/** How much of the tint's colour there is where it is darkest: text on it keeps a contrast of 4.5. */
export const DARKEST = 0.55;

/** Nats of a model that holds every symbol as likely as any other: the darkest tint. */
export function blindGuess({ symbols }: TextMeta): number {
  return Math.log(symbols.length);
}

/** Strength of the tint, 0 to 1, of an error in nats. */
export function strength(nats: number, most: number): number {
  return Number.isNaN(nats) ? 0 : Math.max(0, Math.min(1, nats / most));
}

/** For CSS: the tint's colour over whatever is below. */
export function tint(nats: number, most: number): string {
  return `color-mix(in srgb, var(--gw-surprise) ${Math.round(strength(nats, most) * DARKEST * 100)}%, transparent)`;
}
