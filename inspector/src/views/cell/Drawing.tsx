// The LSTM cell as the textbooks draw it, with the numbers of one step on its lines.

import { CELL, type NumberedPart, type Part } from "../../data/cell";
import { type Geometry, geometry, HEAD, type Point, ROW, UNITS, VECTOR_WIDTH } from "./geometry";
import { Piece, type Pointing } from "./Piece";
import type { UnitStep } from "./scene";
import { Belt, BeltTip, Box, Circle, End, Pill, RADIUS, Tip, Wire } from "./shapes";
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
  named: { before: string[]; now: string };
  /** Short descriptions of the input, and of the destination of h above the cell. */
  x: string;
  up: string;
  projected: boolean;
  playing: boolean;
  pointing: Pointing;
}

export function Drawing(props: DrawingProps) {
  const { width, scale, units, focus, before, named, pointing, playing } = props;
  const at = geometry(width, units.length);
  const below = at.c + (units.length * ROW + HEAD) / 2 + 15;
  const vector = (part: NumberedPart, x: number, y: number) => {
    const { letter, step, range } = CELL[part];
    return (
      <Vector
        {...{ part, x, y, letter }}
        sub={step === "before" ? before : step === "now" ? "t" : ""}
        signed={range !== "share"}
        named={step === "before"}
        entries={units.map((unit): Entry => {
          const value = unit[part];
          // Only cell states are unbounded; their bars are relative to the unit's maximum.
          const scale = range === "unbounded" ? props.largest.get(unit.unit)! : 1;
          return { unit: unit.unit, value, bar: value / scale, focus: unit === focus };
        })}
      />
    );
  };
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
      <Piece part="hidden_before" pointing={pointing}>
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
        {vector("hidden_before", UNITS + VECTOR_WIDTH / 2, at.h)}
      </Piece>
      <Piece part="input" pointing={pointing}>
        <Wire
          way={[
            [at.x.x, at.x.y],
            [at.x.x, at.h],
            [at.f, at.h],
          ]}
        />
        <End x={at.x.x + 12} y={at.x.y - 6} letter="x" sub="t" text={props.x} anchor="start" />
      </Piece>
      <Piece part="cell_before" pointing={pointing}>
        <Belt from={UNITS + VECTOR_WIDTH} to={at.f - RADIUS} y={at.c} thick={thick(focus.cell_before)} />
        {vector("cell_before", UNITS + VECTOR_WIDTH / 2, at.c)}
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
  vector: (part: NumberedPart, x: number, y: number) => preact.JSX.Element;
  thick: (value: number) => number;
}

/** The box of a part that is a layer of learned weights. */
function Layer({ part, x, top }: { part: Part; x: number; top: number }) {
  const { name, layer } = CELL[part];
  return <Box x={x} top={top} curve={layer!.symbol} sub={layer!.sub} name={name} />;
}

function PointwiseOperation({ part, x, y }: { part: Part; x: number; y: number }) {
  const { sign } = CELL[part].operation!;
  return sign === "tanh" ? <Pill x={x} y={y} /> : <Circle x={x} y={y} sign={sign} />;
}

/** The thickness of a gate's line: like a tap, wide open at 1. */
const tap = (value: number) => 1.25 + 3.25 * Math.abs(value);

/** Forgetting and writing: the three layers on the left and their effect on c. */
function Middle({ at, pointing, focus, vector, thick }: Inner) {
  return (
    <>
      <Piece part="forget_gate" pointing={pointing}>
        <Wire
          way={[
            [at.f, at.boxTop],
            [at.f, at.c + RADIUS + 6],
          ]}
          weight={tap(focus.forget_gate)}
        />
        <Tip x={at.f} y={at.c + RADIUS} to="up" />
        <Layer part="forget_gate" x={at.f} top={at.boxTop} />
        {vector("forget_gate", at.f, at.vectors)}
      </Piece>
      <Piece part="input_gate" pointing={pointing}>
        <Wire
          way={[
            [at.i, at.boxTop],
            [at.i, at.write],
            [at.g - RADIUS - 6, at.write],
          ]}
          weight={tap(focus.input_gate)}
        />
        <Tip x={at.g - RADIUS} y={at.write} to="right" />
        <Layer part="input_gate" x={at.i} top={at.boxTop} />
        {vector("input_gate", at.i, at.vectors)}
      </Piece>
      <Piece part="candidate" pointing={pointing}>
        <Wire
          way={[
            [at.g, at.boxTop],
            [at.g, at.write + RADIUS + 6],
          ]}
          weight={tap(focus.candidate)}
        />
        <Tip x={at.g} y={at.write + RADIUS} to="up" />
        <Layer part="candidate" x={at.g} top={at.boxTop} />
        {vector("candidate", at.g, at.vectors)}
      </Piece>
      <Piece part="kept" pointing={pointing}>
        <Belt from={at.f + RADIUS} to={at.g - RADIUS} y={at.c} thick={thick(focus.kept)} />
        <PointwiseOperation part="kept" x={at.f} y={at.c} />
        {vector("kept", (at.f + at.g) / 2, at.c)}
      </Piece>
      <Piece part="written" pointing={pointing}>
        <Wire
          way={[
            [at.g, at.write - RADIUS],
            [at.g, at.c + RADIUS + 6],
          ]}
          weight={tap(focus.written)}
        />
        <Tip x={at.g} y={at.c + RADIUS} to="up" />
        <PointwiseOperation part="written" x={at.g} y={at.write} />
        {vector("written", at.g + VECTOR_WIDTH / 2 + 14, (at.c + at.write) / 2 + 8)}
      </Piece>
    </>
  );
}

/** The new cell state, and the path from it to the hidden state. */
function Ways({ at, projected, up, pointing, focus, vector, thick }: Inner & { projected: boolean; up: string }) {
  const right = at.width - VECTOR_WIDTH - 1;
  const out: Point[] = [
    [at.show, at.gate + RADIUS],
    [at.show, at.h],
    [right - 8, at.h],
  ];
  return (
    <>
      <Piece part="cell" pointing={pointing}>
        <Belt from={at.g + RADIUS} to={right - 8} y={at.c} thick={thick(focus.cell)} />
        <BeltTip x={right - 1} y={at.c} thick={thick(focus.cell)} />
        <PointwiseOperation part="cell" x={at.g} y={at.c} />
        {vector("cell", at.width - VECTOR_WIDTH / 2 - 1, at.c)}
      </Piece>
      <Piece part="bent" pointing={pointing}>
        <Wire
          way={[
            [at.show, at.c + 6],
            [at.show, at.gate - RADIUS - 6],
          ]}
        />
        <Tip x={at.show} y={at.gate - RADIUS} to="down" />
        <PointwiseOperation part="bent" x={at.show} y={at.bend} />
        {vector("bent", at.show + VECTOR_WIDTH / 2 + 32, at.bend + 20)}
      </Piece>
      <Piece part="output_gate" pointing={pointing}>
        <Wire
          way={[
            [at.o, at.boxTop],
            [at.o, at.gate],
            [at.show - RADIUS - 6, at.gate],
          ]}
          weight={tap(focus.output_gate)}
        />
        <Tip x={at.show - RADIUS} y={at.gate} to="right" />
        <Layer part="output_gate" x={at.o} top={at.boxTop} />
        {vector("output_gate", at.o, at.vectors)}
      </Piece>
      <Piece part="hidden" pointing={pointing}>
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
            [at.up, at.c + 18],
            [at.up, 8],
          ]}
          flow={false}
        />
        <Tip x={at.up} y={2} to="up" />
        <text class="gw-end" x={at.up - 9} y={25} text-anchor="end">
          {up}
        </text>
        <Tip x={right - 1} y={at.h} to="right" />
        {vector("hidden", at.width - VECTOR_WIDTH / 2 - 1, at.h)}
      </Piece>
      <Piece part="shown" pointing={pointing}>
        <PointwiseOperation part="shown" x={at.show} y={at.gate} />
        {projected && vector("shown", at.show, (at.gate + RADIUS + at.boxTop + 12) / 2)}
      </Piece>
      {projected && (
        <Piece part="projection" pointing={pointing}>
          <Layer part="projection" x={at.show} top={at.boxTop + 12} />
        </Piece>
      )}
    </>
  );
}
