// Numbers in the drawing and the arithmetic: with few digits, but enough to check them by hand.

import { fixed } from "../../format";

/** About three significant digits, at most six characters. */
export function figure(value: number): string {
  const size = Math.abs(value);
  return fixed(value, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

/** As `figure`, one digit less: for the drawing. */
export function brief(value: number): string {
  const size = Math.abs(value);
  return fixed(value, size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** Percent, with one more digit where rounding would show 0% or 100%. */
export function share(part: number): string {
  const size = Math.abs(part) * 100;
  if (size > 0 && size < 0.05) return "<0.1%";
  if (size > 99.95 && size < 100) return "99.9%";
  const nearEnd = (size > 0 && size < 1) || (size > 99 && size < 100);
  return `${fixed(part * 100, nearEnd ? 1 : 0)}%`;
}
