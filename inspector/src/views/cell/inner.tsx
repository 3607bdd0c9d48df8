// What the parts of the drawing share.

import type { Cell } from "../../data/anatomy";
import type { NumberedPart, Part } from "../../data/cell";
import type { Geometry } from "./geometry";
import type { Pointing } from "./Piece";
import type { UnitStep } from "./scene";
import { Box, Circle, Pill } from "./shapes";

export interface Inner {
  at: Geometry;
  cell: Cell;
  pointing: Pointing;
  focus: UnitStep;
  vector: (part: NumberedPart, x: number, y: number) => preact.JSX.Element;
  /** Thickness of the belt. */
  thick: (value: number) => number;
}

/** The thickness of a gate's line: like a tap, wide open at 1. */
export const tap = (value: number) => 1.25 + 3.25 * Math.min(1, Math.abs(value));

/** The box of a part that is a layer of learned weights. */
export function Layer({ cell, part, x, top }: { cell: Cell; part: Part; x: number; top: number }) {
  const { name, layer } = cell.parts[part];
  return (
    <Box
      x={x}
      top={top}
      {...{ first: layer!.first, curve: layer!.symbol, sub: layer!.sub }}
      name={layer!.name ?? name}
    />
  );
}

/** The mark of a pointwise operation. */
export function Mark({ cell, part, x, y }: { cell: Cell; part: Part; x: number; y: number }) {
  const { sign } = cell.parts[part].operation!;
  return sign === "⊗" || sign === "+" ? <Circle x={x} y={y} sign={sign} /> : <Pill x={x} y={y} text={sign} />;
}
