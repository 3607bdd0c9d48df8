// Numbers of units over time as bytes, at several resolutions in time, so that any zoom needs look-ups only.

import type { Direction } from "../../data/types";

/** 254 steps, so that 0 of a scale from -1 to 1 has a byte of its own: 127. */
export const TOP = 254;

export interface Level {
  steps: number;
  /** (units, steps). */
  bytes: Uint8Array;
}

/** levels[n] has one byte for 2^n steps: their mean. */
export interface Pyramid {
  units: number;
  levels: Level[];
}

/** Units that are converted together: a cache line of float32 is read whole. */
const BLOCK = 16;

/** Convert (T, units) numbers to bytes, from each unit's low, 0, to its high, `TOP`. */
export function pyramid(values: Float32Array, lows: Float32Array, highs: Float32Array): Pyramid {
  const units = lows.length;
  const T = values.length / units;
  const bytes = new Uint8Array(T * units);
  const scales = highs.map((high, u) => TOP / (high - lows[u]));
  for (let first = 0; first < units; first += BLOCK) {
    const end = Math.min(units, first + BLOCK);
    for (let t = 0; t < T; t++) {
      for (let u = first; u < end; u++) {
        const byte = (values[t * units + u] - lows[u]) * scales[u] + 0.5;
        bytes[u * T + t] = byte < 0 ? 0 : byte > TOP ? TOP : byte;
      }
    }
  }
  return above({ steps: T, bytes }, units);
}

/** The part of a write at each step that is left at step t: the product of the forget gates between; 0 after t. */
export function survival(forget: Float32Array, units: number, t: number, direction: Direction): Pyramid {
  const T = forget.length / units;
  const bytes = new Uint8Array(T * units);
  const back = direction === "forward" ? -1 : 1;
  const left = new Float32Array(BLOCK);
  for (let first = 0; first < units; first += BLOCK) {
    const end = Math.min(units, first + BLOCK);
    left.fill(1);
    // Most units forget soon, and less than half a byte is 0.
    for (let k = t, most = 1; k >= 0 && k < T && most > 0.5 / TOP; k += back) {
      most = 0;
      for (let u = first; u < end; u++) {
        const now = left[u - first];
        bytes[u * T + k] = now * TOP + 0.5;
        left[u - first] = now * forget[k * units + u];
        if (left[u - first] > most) most = left[u - first];
      }
    }
  }
  return above({ steps: T, bytes }, units);
}

function above(ground: Level, units: number): Pyramid {
  const levels = [ground];
  for (let below = ground; below.steps > 256; below = levels[levels.length - 1]) levels.push(halved(below, units));
  return { units, levels };
}

function halved({ steps, bytes }: Level, units: number): Level {
  const fewer = Math.ceil(steps / 2);
  const means = new Uint8Array(fewer * units);
  for (let u = 0; u < units; u++) {
    const from = u * steps;
    const to = u * fewer;
    const pairs = steps >> 1;
    // Halves are rounded up and down in turn, so that means of means do not drift.
    for (let k = 0; k < pairs; k++) means[to + k] = (bytes[from + 2 * k] + bytes[from + 2 * k + 1] + (k & 1)) >> 1;
    if (fewer > pairs) means[to + pairs] = bytes[from + steps - 1];
  }
  return { steps: fewer, bytes: means };
}

/** The maximum absolute value of each unit. */
export function largestOfEach(values: Float32Array, units: number): Float32Array {
  const sizes = new Float32Array(units);
  for (let k = 0, u = 0; k < values.length; k++, u = u + 1 === units ? 0 : u + 1) {
    const size = Math.abs(values[k]);
    if (size > sizes[u]) sizes[u] = size;
  }
  return sizes.map((size) => size || 1);
}

/**
 * The 99.5th percentile of the absolute values, so that a few large ones do not flatten the rest. In a large
 * block it is estimated from some 200,000 evenly spaced numbers.
 */
export function largest(values: Float32Array): number {
  const stride = Math.max(1, Math.floor(values.length / 200_000));
  const length = Math.floor(values.length / stride);
  const sizes = Float32Array.from({ length }, (_, k) => Math.abs(values[k * stride]));
  sizes.sort();
  return sizes[Math.floor((sizes.length - 1) * 0.995)] || 1;
}
