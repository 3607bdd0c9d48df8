// Bars over the steps in sight: one for each step, or one up and one down for each pixel where steps are narrower.

import type { Axis } from "../../components/axis";
import type { Account } from "./account";

export interface Bar {
  /** In CSS pixels from the first step in sight. */
  x: number;
  width: number;
  /** Sums of positive and of negative numbers: of the remainders, and of the writes. */
  left: [number, number];
  written: [number, number];
}

/** Minimum width of a step, in CSS pixels, for a bar of its own. */
const OWN = 2;

export function barsOf(account: Account, axis: Axis, ghosts: boolean): Bar[] {
  const { shares, from } = account;
  const [first, end] = axis.state.range.value;
  const begin = Math.max(from, Math.floor(first));
  const stop = Math.min(from + shares.length, Math.ceil(end));
  const wide = axis.perStep.value;
  const bars: Bar[] = [];
  let pixel = NaN;
  for (let k = begin; k < stop; k++) {
    const x = axis.x(k);
    if (wide >= OWN) {
      const gap = Math.min(2, wide * 0.2);
      bars.push({ x: x + gap / 2, width: wide - gap, left: [0, 0], written: [0, 0] });
    } else if (Math.floor(x) !== pixel) {
      pixel = Math.floor(x);
      bars.push({ x: pixel, width: 1, left: [0, 0], written: [0, 0] });
    }
    const bar = bars[bars.length - 1];
    add(bar.left, shares[k - from]);
    if (ghosts && account.written) add(bar.written, account.written[k - from]);
  }
  return bars;
}

function add(sums: [number, number], value: number): void {
  sums[value > 0 ? 0 : 1] += value;
}

/** The range to show, including 0. */
export function extent(bars: readonly Bar[], more: readonly number[]): [number, number] {
  let [low, high] = [Math.min(0, ...more), Math.max(0, ...more)];
  for (const { left, written } of bars) {
    low = Math.min(low, left[1], written[1]);
    high = Math.max(high, left[0], written[0]);
  }
  return low === high ? [-1, 1] : [low, high];
}

/** All bars of one kind as one path. */
export function pathOf(
  bars: readonly Bar[],
  kind: "left" | "written",
  sign: 0 | 1,
  y: (value: number) => number,
): string {
  const zero = y(0);
  let d = "";
  for (const bar of bars) {
    const value = bar[kind][sign];
    if (value === 0) continue;
    const right = (bar.x + bar.width).toFixed(2);
    d += `M${bar.x.toFixed(2)} ${zero}V${y(value).toFixed(2)}H${right}V${zero}Z`;
  }
  return d;
}
