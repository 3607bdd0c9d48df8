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

export function PlainDrawing({
  width,
  scale,
  units,
  focus,
  x,
  playing,
}: {
  width: number;
  /** CSS pixels in a pixel of the drawing. */
  scale: number;
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
  const over = top - 28;
  const down = right - 110;
  const state = (x: number, y: number, name: "before" | "hidden", sub: string) => (
    <Vector
      part={name === "before" ? "hidden_before" : "hidden"}
      {...{ x, y, sub }}
      letter="h"
      color="var(--gw-hidden)"
      signed
      named={name === "before"}
      entries={units.map((unit) => ({
        unit: unit.unit,
        value: unit[name],
        bar: unit[name],
        focus: unit === focus,
      }))}
    />
  );
  const weight = Number.isNaN(focus.before) ? 1.5 : 1.5 + 3 * Math.abs(focus.before);
  return (
    <svg
      class="gw-cell-drawing"
      width={width * scale}
      height={(h + 70) * scale}
      viewBox={`0 0 ${width} ${h + 70}`}
      role="img"
      aria-label="The cell of a plain RNN with the numbers of this step"
      data-playing={playing}
    >
      <rect class="gw-frame" x={left} y={10} width={right - left} height={h + 18} rx={16} />
      <g style={{ color: "var(--gw-peer)" }}>
        <Wire
          way={[
            [UNITS + VECTOR_WIDTH, h],
            [middle, h],
            [middle, top + 44],
          ]}
          weight={weight}
        />
        <Wire
          way={[
            [left + 22, h + 56],
            [left + 22, h],
            [middle - 8, h],
          ]}
        />
        <Tip x={middle} y={top + 37} to="up" />
        <Box x={middle} top={top} curve="tanh" name="one layer" />
        <Wire
          way={[
            [middle, top],
            [middle, over],
            [down, over],
            [down, h],
            [right + 12, h],
          ]}
          weight={1.5 + 3 * Math.abs(focus.hidden)}
        />
        <Tip x={right + 19} y={h} to="right" />
        <Wire
          way={[
            [right - 28, h],
            [right - 18, h],
            [right - 18, 8],
          ]}
          flow={false}
        />
        <Tip x={right - 18} y={2} to="up" />
        <End x={left + 34} y={h + 50} letter="x" sub="t" text={x} anchor="start" />
        <text class="gw-end" x={middle - 60} y={top + 22} text-anchor="end">
          h′ = tanh(W x + U h + b)
        </text>
      </g>
      {state(UNITS + VECTOR_WIDTH / 2, h, "before", "t−1")}
      {state(width - VECTOR_WIDTH / 2 - 1, h, "hidden", "t")}
    </svg>
  );
}
