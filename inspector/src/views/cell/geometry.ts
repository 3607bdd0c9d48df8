// Positions in the drawing of the cell, in pixels.

import type { Cell } from "../../data/anatomy";
import type { Part } from "../../data/cell";
import { trimmed } from "../../format";

/** Height of one number in a vector, and of the letter above. */
export const ROW = 14;
export const HEAD = 16;
export const VECTOR_WIDTH = 84;
/** Minimum width of the plain cell: below it the boxes of the layers would touch. */
export const LEAST_WIDTH = 800;
/** Radius of a pointwise operation with two inputs. */
export const RADIUS = 13;
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
  /** From there to the middle of the vectors next to it. */
  aside: number;
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
  /** The operations on c after the sum, from left to right: clipping, zoneout; the line over them. */
  clip: number;
  zone: number;
  over: number;
  /** Where these operations end. */
  afterOperations: number;
  /** Heights of the lines of peepholes: across to the input gate, and down into the boxes; of the normaliser. */
  across: number;
  into: number;
  norm: number;
  /** Height of the normalisation of c, and of zoneout of h. */
  normal: number;
  mixed: number;
  /** Middle of the vectors next to that and the activation. */
  vectorsOfRead: readonly [number, number];
}

/** Minimum width of a cell: its operations on c stand between two layers. */
export function leastWidth(cell: Cell): number {
  const { peephole, cell_clip, zoneout_cell, zoneout_hidden } = cell.features;
  const crowded = peephole || (cell_clip && zoneout_cell) || zoneout_hidden;
  return LEAST_WIDTH + (crowded ? 80 : 0);
}

/** Width of the mark of a function. */
export function pillWidth(text: string): number {
  return Math.max(40, 6.1 * text.length + 16);
}

/** Height of a layer: with a line for what happens before its activation. */
export function boxHeight(isLong: boolean): number {
  return isLong ? 48 : 36;
}

/** Room over c for what zoneout keeps, and over the boxes for peepholes or a normaliser. */
const OVER = 24;
const PEEPHOLE = 14;
const NORMALISER = 34;
/** Room for the normalisation of c on its way to h. */
const NORM = 26;

const READ: readonly Part[] = ["normal", "bent"];

/** The positions for a width and a number of units. */
export function geometry(width: number, units: number, cell: Cell): Geometry {
  const { features } = cell;
  const vector = units * ROW + HEAD;
  const more =
    (features.peephole ? PEEPHOLE : 0) +
    (cell.has("normaliser") ? NORMALISER : 0) +
    (cell.has("normal") ? NORM : 0);
  const left = UNITS + VECTOR_WIDTH + 18;
  const right = width - VECTOR_WIDTH - 21;
  const c = 22 + vector / 2 + (features.zoneout_cell ? OVER : 0);
  const write = Math.max(c + 78, c + vector / 2 + 52) + (cell.has("normal") ? NORM : 0);
  const under = write + vector + 34;
  const boxTop = under + more - (cell.has("normal") ? NORM : 0);
  const boxBottom = boxTop + boxHeight(features.layer_norm);
  const h = boxBottom + 42;
  // The path to h needs room for its vectors; the layers share the rest.
  const widest = Math.max(
    ...cell.operations.map((part) => (READ.includes(part) ? pillWidth(cell.parts[part].operation!.sign) : 0)),
  );
  const aside = Math.max(VECTOR_WIDTH / 2 + 32, VECTOR_WIDTH / 2 + widest / 2 + 4);
  const show = right - 68 - aside;
  const f =
    left + (features.peephole || features.zoneout_cell ? 64 : 52) + 0.08 * Math.max(0, width - LEAST_WIDTH);
  const step = (show - f) / 4;
  const clipped = features.cell_clip ? pillWidth(`clip ±${trimmed(features.cell_clip)}`) : 0;
  const afterSum = f + 2 * step + RADIUS + 6;
  const clip = afterSum + clipped / 2;
  const afterClip = features.cell_clip ? clip + clipped / 2 + 8 : afterSum;
  return {
    width,
    height: h + Math.max(58, vector / 2 + 8),
    frame: { x: left, y: 10, width: right - left, height: h + 16 },
    f,
    i: f + step,
    g: f + 2 * step,
    o: f + 3 * step,
    show,
    aside,
    up: right - 18,
    c,
    write,
    bend: c + 40 + (cell.has("normal") ? NORM + 2 : 0),
    normal: c + 36,
    gate: write + 10,
    boxTop,
    boxBottom,
    h,
    x: { x: left + 22, y: h + 46 },
    vectors: (write + 16 + under) / 2,
    clip,
    zone: afterClip + pillWidth("zoneout") / 2,
    afterOperations: features.zoneout_cell ? afterClip + pillWidth("zoneout") + 8 : afterClip,
    over: c - vector / 2 - 14,
    across: write - 24,
    into: boxTop - 12,
    norm: boxTop - 22,
    mixed: boxTop + 18,
    vectorsOfRead: [c + 18 + vector / 2, c + 24 + 1.5 * vector],
  };
}
