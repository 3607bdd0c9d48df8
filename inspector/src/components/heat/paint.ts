import type { Pyramid } from "./pyramid";

/** (height, width) colours. */
export interface Pixels {
  width: number;
  height: number;
  colors: Uint32Array;
}

/** The visible part: from (inclusive) to (exclusive), not whole numbers; `order` has the unit of each row. */
export interface Sight {
  steps: readonly [number, number];
  rows: readonly [number, number];
  order: readonly number[];
}

/** Paint the visible part; several units in one pixel are shown by their mean. */
export function paint(pixels: Pixels, map: Pyramid, colors: Uint32Array, sight: Sight): void {
  const { width, height } = pixels;
  const [from, to] = sight.steps;
  const perPixel = (to - from) / width;
  const depth = Math.max(0, Math.min(map.levels.length - 1, Math.floor(Math.log2(perPixel))));
  const { steps, bytes } = map.levels[depth];
  const columns = Uint32Array.from({ length: width }, (_, x) => {
    const step = from + (x + 0.5) * perPixel;
    return Math.max(0, Math.min(steps - 1, Math.floor(step / 2 ** depth)));
  });
  const [first, last] = sight.rows;
  const tall = (last - first) / height;
  const sums = new Uint32Array(width);
  for (let y = 0; y < height; y++) {
    const row = clamp(Math.floor(first + y * tall), sight.order.length);
    // The first row of the next pixel belongs to that pixel alone.
    const end = Math.max(row + 1, Math.min(sight.order.length, Math.floor(first + (y + 1) * tall)));
    const line = pixels.colors.subarray(y * width, (y + 1) * width);
    if (end === row + 1) {
      const start = sight.order[row] * steps;
      for (let x = 0; x < width; x++) line[x] = colors[bytes[start + columns[x]]];
      continue;
    }
    sums.fill(0);
    for (let r = row; r < end; r++) {
      const start = sight.order[r] * steps;
      for (let x = 0; x < width; x++) sums[x] += bytes[start + columns[x]];
    }
    const part = 1 / (end - row);
    for (let x = 0; x < width; x++) line[x] = colors[(sums[x] * part) | 0];
  }
}

function clamp(row: number, rows: number): number {
  return Math.max(0, Math.min(rows - 1, row));
}
