// A few numbers of a vector as a column with bars: the values on a line of the drawing.

import type { NumberedPart } from "../../data/cell";
import { brief } from "./figures";
import { HEAD, ROW, VECTOR_WIDTH } from "./geometry";
import { Letter } from "./Letter";

export interface Entry {
  unit: number;
  value: number;
  /** Length of its bar, -1 to 1. */
  bar: number;
  focus: boolean;
}

const BAR = 30;

/** Centred at (x, y). Bars of gates begin on the left, those of values with a sign in the middle. */
export function Vector({
  part,
  x,
  y,
  letter,
  color,
  sub,
  entries,
  signed,
  named = false,
}: {
  part: NumberedPart;
  x: number;
  y: number;
  letter: string;
  color: string;
  sub?: string;
  entries: readonly Entry[];
  signed: boolean;
  /** Whether the units' numbers are shown on the left. */
  named?: boolean;
}) {
  const height = entries.length * ROW + HEAD;
  const left = x - VECTOR_WIDTH / 2;
  const top = y - height / 2;
  const zero = signed ? BAR / 2 : 0;
  return (
    <g class="gw-vector" style={{ color }} transform={`translate(${left} ${top})`}>
      <rect class="gw-vector-ground" width={VECTOR_WIDTH} height={height} rx={5} />
      <Letter x={VECTOR_WIDTH / 2} y={12} letter={letter} sub={sub ?? ""} />
      {entries.map(({ unit, value, bar, focus }, row) => {
        const length = Number.isNaN(bar) ? 0 : (signed ? BAR / 2 : BAR) * Math.max(-1, Math.min(1, bar));
        const middle = HEAD + row * ROW + ROW / 2 - 1;
        return (
          <g class="gw-entry" data-focus={focus}>
            {named && (
              <text class="gw-vector-unit" x={-6} y={middle + 4}>
                {unit}
              </text>
            )}
            <rect
              class="gw-bar"
              x={6 + zero + Math.min(0, length)}
              y={middle - 3}
              width={Math.abs(length)}
              height={6}
              rx={1}
            />
            <path class="gw-zero" d={`M${6 + zero} ${middle - 5}v10`} />
            <text
              class="gw-vector-number"
              x={VECTOR_WIDTH - 5}
              y={middle + 4}
              data-part={part}
              data-unit={unit}
              data-value={value}
            >
              {brief(value)}
            </text>
          </g>
        );
      })}
    </g>
  );
}
