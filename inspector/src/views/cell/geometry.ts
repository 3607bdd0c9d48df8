// Positions in the drawing of the cell, in pixels.

/** Height of one number in a vector, and of the letter above. */
export const ROW = 14;
export const HEAD = 16;
export const VECTOR_WIDTH = 84;
/** Minimum width: below it the boxes of the layers would touch. */
export const LEAST_WIDTH = 800;
/** Room on the left for the numbers of the units. */
export const UNITS = 26;

export type Point = readonly [x: number, y: number];

/** A path through points, with round corners. */
export function route(points: readonly Point[], radius = 8): string {
  const toward = ([x, y]: Point, [u, v]: Point): string => {
    const length = Math.hypot(u - x, v - y) || 1;
    const part = Math.min(radius, length / 2) / length;
    return `${x + (u - x) * part} ${y + (v - y) * part}`;
  };
  const last = points.length - 1;
  const corners = points.slice(1, last).map((corner, k) => {
    const [x, y] = corner;
    return `L${toward(corner, points[k])}Q${x} ${y} ${toward(corner, points[k + 2])}`;
  });
  return `M${points[0].join(" ")}${corners.join("")}L${points[last].join(" ")}`;
}

export interface Geometry {
  width: number;
  height: number;
  /** The frame around the cell. */
  frame: { x: number; y: number; width: number; height: number };
  /** The four layers' boxes and lines: forget gate, input gate, candidate, output gate. */
  f: number;
  i: number;
  g: number;
  o: number;
  /** The line from c down to h. */
  show: number;
  /** The line from h up and out. */
  up: number;
  /** Heights: c, the circle of i ⊗ g, the circle and the tanh of the way to h, boxes, h, x. */
  c: number;
  write: number;
  bend: number;
  gate: number;
  boxTop: number;
  boxBottom: number;
  h: number;
  x: { x: number; y: number };
  /** Middle of the vectors on the gates' lines. */
  vectors: number;
}

/** The positions for a width and a number of units. */
export function geometry(width: number, units: number): Geometry {
  const vector = units * ROW + HEAD;
  const left = UNITS + VECTOR_WIDTH + 18;
  const right = width - VECTOR_WIDTH - 21;
  const c = 22 + vector / 2;
  const write = Math.max(c + 78, c + vector / 2 + 52);
  const boxTop = write + vector + 34;
  const boxBottom = boxTop + 36;
  const h = boxBottom + 42;
  // The path to h needs room for its vectors; the layers share the rest.
  const show = right - 142;
  const f = left + 52 + 0.08 * Math.max(0, width - LEAST_WIDTH);
  const step = (show - f) / 4;
  return {
    width,
    height: h + Math.max(58, vector / 2 + 8),
    frame: { x: left, y: 10, width: right - left, height: h + 16 },
    f,
    i: f + step,
    g: f + 2 * step,
    o: f + 3 * step,
    show,
    up: right - 18,
    c,
    write,
    bend: c + 40,
    gate: write + 10,
    boxTop,
    boxBottom,
    h,
    x: { x: left + 22, y: h + 46 },
    vectors: (write + 16 + boxTop) / 2,
  };
}
