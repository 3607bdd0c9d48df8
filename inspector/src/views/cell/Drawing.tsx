// The cell as the textbooks draw it, with the numbers of one step on its lines: the parts that the cell has.

import type { NumberedPart } from "../../data/cell";
import { Before } from "./Before";
import { Gates } from "./Gates";
import { geometry, HEAD, ROW, UNITS, VECTOR_WIDTH } from "./geometry";
import type { Inner } from "./inner";
import { Memory } from "./Memory";
import { Output } from "./Output";
import type { Pointing } from "./Piece";
import type { UnitStep } from "./scene";
import { type Entry, Vector } from "./Vector";

export interface DrawingProps {
  width: number;
  /** CSS pixels in a pixel of the drawing. */
  scale: number;
  units: readonly UnitStep[];
  focus: UnitStep;
  /** Maximum |c| of each unit in sight over the sequence: the length of a full bar and the thickest belt. */
  largest: ReadonlyMap<number, number>;
  /** The index of the previous step, "t−1" or in reverse "t+1", and the names of that step and this one. */
  before: string;
  named: { before: string[]; now: string[] };
  /** Short descriptions of the input, and of the destination of h above the cell. */
  x: string;
  up: string;
  playing: boolean;
  pointing: Pointing;
}

export function Drawing(props: DrawingProps) {
  const { width, scale, units, focus, before, named, pointing, playing } = props;
  const { cell } = pointing;
  const at = geometry(width, units.length, cell);
  const below = at.c + (units.length * ROW + HEAD) / 2 + 15;
  const vector = (part: NumberedPart, x: number, y: number) => {
    const { letter, step, range, color } = cell.parts[part];
    return (
      <Vector
        {...{ part, x, y, letter, color }}
        sub={step === "before" ? before : step === "now" ? "t" : ""}
        signed={range !== "share"}
        named={step === "before"}
        entries={units.map((unit): Entry => {
          const value = unit[part];
          // The bars of unbounded numbers are relative to the unit's largest cell state.
          const scale = range === "unbounded" ? props.largest.get(unit.unit)! : 1;
          return { unit: unit.unit, value, bar: value / scale, focus: unit === focus };
        })}
      />
    );
  };
  const thick = (value: number) => Math.min(16, (12 * Math.abs(value)) / props.largest.get(focus.unit)!);
  const inner: Inner = { at, cell, pointing, focus, vector, thick };
  return (
    <svg
      class="gw-cell-drawing"
      width={width * scale}
      height={at.height * scale}
      viewBox={`0 0 ${width} ${at.height}`}
      role="group"
      aria-label={`The ${cell.name} cell with the numbers of this step`}
      data-playing={playing}
    >
      <rect
        class="gw-frame"
        x={at.frame.x}
        y={at.frame.y}
        width={at.frame.width}
        height={at.frame.height}
        rx={16}
      />
      <Before inner={inner} x={props.x} />
      {named.before.map((line, k) => (
        <text class="gw-end" x={UNITS + VECTOR_WIDTH / 2} y={below + 14 * k} text-anchor="middle">
          {line}
        </text>
      ))}
      {named.now.map((line, k) => (
        <text class="gw-end" x={width - VECTOR_WIDTH / 2 - 1} y={below + 14 * k} text-anchor="middle">
          {line}
        </text>
      ))}
      <Gates {...inner} />
      <Memory {...inner} />
      <Output {...inner} up={props.up} />
    </svg>
  );
}
