// The LSTM cell as the textbooks draw it, with the numbers of one step on its lines.

import { geometry, HEAD, ROW, UNITS, VECTOR_WIDTH, type Geometry, type Point } from "./geometry";
import { PART_NUMBER, type Part } from "./parts";
import { Piece, type Pointing } from "./Piece";
import { Belt, BeltTip, Box, Circle, End, Pill, RADIUS, Tip, Wire } from "./shapes";
import type { UnitStep } from "./scene";
import { Vector, type Entry } from "./Vector";

export interface DrawingProps {
  width: number;
  /** CSS pixels of each pixel of the drawing. */
  scale: number;
  units: readonly UnitStep[];
  focus: UnitStep;
  /** Largest |c| of each unit in sight over the sequence, by unit: full bars and the thickest belt. */
  largest: ReadonlyMap<number, number>;
  /** The index of the step that was read before: "t−1", in reverse "t+1"; and what to call it and this one. */
  before: string;
  named: { before: string[]; now: string };
  /** The input in a few words, and where h goes upwards. */
  x: string;
  up: string;
  projected: boolean;
  playing: boolean;
  pointing: Pointing;
}

/** Numbers that a bar shows against the largest |c| of the unit; the others lie between -1 and 1 by themselves. */
const OF_CELL: readonly Part[] = ["cell_before", "kept", "cell"];
const GATE_LIKE: readonly Part[] = ["forget_gate", "input_gate", "output_gate"];

export function Drawing(props: DrawingProps) {
  const { width, scale, units, focus, before, named, pointing, playing } = props;
  const at = geometry(width, units.length);
  const below = at.c + (units.length * ROW + HEAD) / 2 + 15;
  const vector = (
    part: Exclude<Part, "input" | "projection">,
    x: number,
    y: number,
    letter: string,
    sub: string,
  ) => (
    <Vector
      {...{ part, x, y, letter, sub }}
      signed={!GATE_LIKE.includes(part)}
      named={part === "cell_before" || part === "hidden_before"}
      entries={units.map((unit): Entry => {
        const value = unit[PART_NUMBER[part]];
        const scale = OF_CELL.includes(part) ? props.largest.get(unit.unit)! : 1;
        return { unit: unit.unit, value, bar: value / scale, focus: unit === focus };
      })}
    />
  );
  const thick = (value: number) => (12 * Math.abs(value)) / props.largest.get(focus.unit)!;
  return (
    <svg
      class="gw-cell-drawing"
      width={width * scale}
      height={at.height * scale}
      viewBox={`0 0 ${width} ${at.height}`}
      role="group"
      aria-label="The LSTM cell with the numbers of this step"
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
      <Piece part="hidden_before" name="Hidden state before the step" pointing={pointing}>
        <Wire
          way={[
            [UNITS + VECTOR_WIDTH, at.h],
            [at.o, at.h],
            [at.o, at.boxBottom + 8],
          ]}
        />
        {[at.f, at.i, at.g].map((x) => (
          <Wire
            way={[
              [x, at.h],
              [x, at.boxBottom + 8],
            ]}
          />
        ))}
        {[at.f, at.i, at.g, at.o].map((x) => (
          <Tip x={x} y={at.boxBottom + 1} to="up" />
        ))}
        {vector("hidden_before", UNITS + VECTOR_WIDTH / 2, at.h, "h", before)}
      </Piece>
      <Piece part="input" name="Input" pointing={pointing}>
        <Wire
          way={[
            [at.x.x, at.x.y],
            [at.x.x, at.h],
            [at.f, at.h],
          ]}
        />
        <End x={at.x.x + 12} y={at.x.y - 6} letter="x" sub="t" text={props.x} anchor="start" />
      </Piece>
      <Piece part="cell_before" name="Cell state before the step" pointing={pointing}>
        <Belt from={UNITS + VECTOR_WIDTH} to={at.f - RADIUS} y={at.c} thick={thick(focus.cellBefore)} />
        {vector("cell_before", UNITS + VECTOR_WIDTH / 2, at.c, "c", before)}
        {named.before.map((line, k) => (
          <text class="gw-end" x={UNITS + VECTOR_WIDTH / 2} y={below + 14 * k} text-anchor="middle">
            {line}
          </text>
        ))}
      </Piece>
      <text class="gw-end" x={width - VECTOR_WIDTH / 2 - 1} y={below} text-anchor="middle">
        {named.now}
      </text>
      <Middle at={at} {...props} vector={vector} thick={thick} />
      <Ways at={at} {...props} vector={vector} thick={thick} />
    </svg>
  );
}

interface Inner {
  at: Geometry;
  pointing: Pointing;
  focus: UnitStep;
  vector: (
    part: Exclude<Part, "input" | "projection">,
    x: number,
    y: number,
    letter: string,
    sub: string,
  ) => preact.JSX.Element;
  thick: (value: number) => number;
}

/** How thick a gate's line is: a tap, wide open at 1. */
const tap = (value: number) => 1.25 + 3.25 * Math.abs(value);

/** Forget, and write: the three layers on the left and what they do to c. */
function Middle({ at, pointing, focus, vector, thick }: Inner) {
  return (
    <>
      <Piece part="forget_gate" name="Forget gate" pointing={pointing}>
        <Wire
          way={[
            [at.f, at.boxTop],
            [at.f, at.c + RADIUS + 6],
          ]}
          weight={tap(focus.forget)}
        />
        <Tip x={at.f} y={at.c + RADIUS} to="up" />
        <Box x={at.f} top={at.boxTop} curve="σ" name="forget gate" />
        {vector("forget_gate", at.f, at.vectors, "f", "t")}
      </Piece>
      <Piece part="input_gate" name="Input gate" pointing={pointing}>
        <Wire
          way={[
            [at.i, at.boxTop],
            [at.i, at.write],
            [at.g - RADIUS - 6, at.write],
          ]}
          weight={tap(focus.input)}
        />
        <Tip x={at.g - RADIUS} y={at.write} to="right" />
        <Box x={at.i} top={at.boxTop} curve="σ" name="input gate" />
        {vector("input_gate", at.i, at.vectors, "i", "t")}
      </Piece>
      <Piece part="candidate" name="Candidate" pointing={pointing}>
        <Wire
          way={[
            [at.g, at.boxTop],
            [at.g, at.write + RADIUS + 6],
          ]}
          weight={tap(focus.candidate)}
        />
        <Tip x={at.g} y={at.write + RADIUS} to="up" />
        <Box x={at.g} top={at.boxTop} curve="tanh" name="candidate" />
        {vector("candidate", at.g, at.vectors, "g", "t")}
      </Piece>
      <Piece part="kept" name="Forgetting: f times c" pointing={pointing}>
        <Belt from={at.f + RADIUS} to={at.g - RADIUS} y={at.c} thick={thick(focus.kept)} />
        <Circle x={at.f} y={at.c} sign="×" />
        {vector("kept", (at.f + at.g) / 2, at.c, "kept", "")}
      </Piece>
      <Piece part="written" name="Writing: i times g" pointing={pointing}>
        <Wire
          way={[
            [at.g, at.write - RADIUS],
            [at.g, at.c + RADIUS + 6],
          ]}
          weight={tap(focus.written)}
        />
        <Tip x={at.g} y={at.c + RADIUS} to="up" />
        <Circle x={at.g} y={at.write} sign="×" />
        {vector("written", at.g + VECTOR_WIDTH / 2 + 14, (at.c + at.write) / 2 + 8, "written", "")}
      </Piece>
    </>
  );
}

/** The new cell state, and the way from it to the hidden state. */
function Ways({ at, projected, up, pointing, focus, vector, thick }: Inner & { projected: boolean; up: string }) {
  const right = at.width - VECTOR_WIDTH - 1;
  const out: Point[] = [
    [at.show, at.gate + RADIUS],
    [at.show, at.h],
    [right - 8, at.h],
  ];
  return (
    <>
      <Piece part="cell" name="Addition: the new cell state" pointing={pointing}>
        <Belt from={at.g + RADIUS} to={right - 8} y={at.c} thick={thick(focus.cell)} />
        <BeltTip x={right - 1} y={at.c} thick={thick(focus.cell)} />
        <Circle x={at.g} y={at.c} sign="+" />
        {vector("cell", at.width - VECTOR_WIDTH / 2 - 1, at.c, "c", "t")}
      </Piece>
      <Piece part="bent" name="tanh of the cell state" pointing={pointing}>
        <Wire
          way={[
            [at.show, at.c + 6],
            [at.show, at.gate - RADIUS - 6],
          ]}
        />
        <Tip x={at.show} y={at.gate - RADIUS} to="down" />
        <Pill x={at.show} y={at.bend} />
        {vector("bent", at.show + VECTOR_WIDTH / 2 + 32, at.bend + 20, "tanh c", "t")}
      </Piece>
      <Piece part="output_gate" name="Output gate" pointing={pointing}>
        <Wire
          way={[
            [at.o, at.boxTop],
            [at.o, at.gate],
            [at.show - RADIUS - 6, at.gate],
          ]}
          weight={tap(focus.output)}
        />
        <Tip x={at.show - RADIUS} y={at.gate} to="right" />
        <Box x={at.o} top={at.boxTop} curve="σ" name="output gate" />
        {vector("output_gate", at.o, at.vectors, "o", "t")}
      </Piece>
      <Piece part="hidden" name="The new hidden state" pointing={pointing}>
        <Wire way={out} weight={projected ? 1.5 : tap(focus.shown)} />
        <Wire
          way={[
            [at.up - 10, at.h],
            [at.up, at.h],
            [at.up, at.c + 14],
          ]}
          flow={false}
        />
        <path class="gw-over" d={`M${at.up} ${at.c + 16}V${at.c - 16}`} />
        <Wire
          way={[
            [at.up, at.c + 15],
            [at.up, 8],
          ]}
          flow={false}
        />
        <Tip x={at.up} y={2} to="up" />
        <text class="gw-end" x={at.up - 9} y={25} text-anchor="end">
          {up}
        </text>
        <Tip x={right - 1} y={at.h} to="right" />
        {vector("hidden", at.width - VECTOR_WIDTH / 2 - 1, at.h, "h", "t")}
      </Piece>
      <Piece part="shown" name="Showing: o times tanh c" pointing={pointing}>
        <Circle x={at.show} y={at.gate} sign="×" />
        {projected && vector("shown", at.show, (at.gate + RADIUS + at.boxTop + 12) / 2, "m", "t")}
      </Piece>
      {projected && (
        <Piece part="projection" name="Projection" pointing={pointing}>
          <Box x={at.show} top={at.boxTop + 12} curve="W" sub="hr" name="projection" />
        </Piece>
      )}
    </>
  );
}
