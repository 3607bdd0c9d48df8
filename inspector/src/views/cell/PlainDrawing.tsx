// The cell of a plain RNN: one layer, one state.

import { HEAD, ROW, UNITS, VECTOR_WIDTH } from "./geometry";
import { Box, End, Tip, Wire } from "./shapes";
import { Vector } from "./Vector";

/** One unit of the plain RNN's only state, before the step and after it. */
export interface PlainStep {
  unit: number;
  /** NaN before the first step: it is not recorded. */
  before: number;
  hidden: number;
}

export function PlainDrawing({ width, units, focus, x, playing }: {
  width: number;
  units: readonly PlainStep[];
  focus: PlainStep;
  x: string;
  playing: boolean;
}) {
  const vector = units.length * ROW + HEAD;
  const left = UNITS + VECTOR_WIDTH + 18;
  const right = width - VECTOR_WIDTH - 21;
  const middle = (left + right) / 2;
  const h = 150 + vector / 2;
  const top = h - 96;
  const box = middle - 46;
  const state = (x: number, y: number, name: "before" | "hidden", sub: string) => (
    <Vector
      part={name === "before" ? "hidden_before" : "hidden"}
      {...{ x, y, sub }}
      letter="h"
      signed
      named={name === "before"}
      entries={units.map((unit) => ({ unit: unit.unit, value: unit[name], bar: unit[name], focus: unit === focus }))}
    />
  );
  const weight = Number.isNaN(focus.before) ? 1.5 : 1.5 + 3 * Math.abs(focus.before);
  return (
    <svg
      class="gw-cell-drawing"
      width={width}
      height={h + 70}
      viewBox={`0 0 ${width} ${h + 70}`}
      role="img"
      aria-label="The cell of a plain RNN with the numbers of this step"
      data-playing={playing}
    >
      <rect class="gw-frame" x={left} y={10} width={right - left} height={h + 18} rx={16} />
      <g style={{ color: "var(--gw-peer)" }}>
        <Wire d={`M${UNITS + VECTOR_WIDTH} ${h}H${middle - 8}Q${middle} ${h} ${middle} ${h - 8}V${top + 44}`} weight={weight} />
        <Wire d={`M${left + 22} ${h + 56}V${h + 10}Q${left + 22} ${h} ${left + 32} ${h}H${middle - 8}`} />
        <Tip x={middle} y={top + 37} to="up" />
        <Box x={middle} top={top} curve="tanh" name="one layer" />
        <Wire d={`M${middle} ${top}V${top - 20}Q${middle} ${top - 28} ${middle + 8} ${top - 28}H${right - 118}Q${right - 110} ${top - 28} ${right - 110} ${top - 20}V${h - 8}Q${right - 110} ${h} ${right - 102} ${h}H${right + 12}`} weight={1.5 + 3 * Math.abs(focus.hidden)} />
        <Tip x={right + 19} y={h} to="right" />
        <Wire d={`M${right - 28} ${h}Q${right - 18} ${h} ${right - 18} ${h - 10}V8`} flow={false} />
        <Tip x={right - 18} y={2} to="up" />
        <End x={left + 34} y={h + 50} letter="x" sub="t" text={x} anchor="start" />
        <text class="gw-end" x={box - 14} y={top + 22} text-anchor="end">
          h′ = tanh(W x + U h + b)
        </text>
      </g>
      {state(UNITS + VECTOR_WIDTH / 2, h, "before", "t−1")}
      {state(width - VECTOR_WIDTH / 2 - 1, h, "hidden", "t")}
    </svg>
  );
}
