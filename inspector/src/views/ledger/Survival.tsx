// The fraction of each step's write that is left: the product of the parts that steps kept since. For a cell state that
// is a weighted average, the weights.

import { type Axis, LEFT, RIGHT } from "../../components/axis";
import { share } from "../cell/figures";
import type { Account } from "./account";

const HEIGHT = 64;
const TOP = 6;
const BOTTOM = HEIGHT - 4;

export function Survival({ account, axis, letter }: { account: Account; axis: Axis; letter: string }) {
  const { survival, average, from } = account;
  if (!survival) return null;
  const width = axis.width.value;
  const values = average?.weights ?? survival;
  // Weights of many steps are small: up to the largest.
  const top = average ? values.reduce((most, weight) => Math.max(most, weight), 0) || 1 : 1;
  const y = (part: number) => BOTTOM - ((BOTTOM - TOP) * part) / top;
  const line = lineOf(values, from, axis, y);
  return (
    <svg
      class="gw-survival"
      width={LEFT + width + RIGHT}
      height={HEIGHT}
      role="img"
      aria-label={average ? "Weight of each candidate" : "Fraction of each write that is left"}
    >
      <text class="gw-ledger-tick" x={LEFT - 8} y={TOP + 8}>
        {average ? "w" : letter}
      </text>
      {[0, top / 2, top].map((part) => (
        <g>
          <path class="gw-ledger-grid" d={`M${LEFT} ${y(part)}h${width}`} />
          <text class="gw-survival-tick" x={LEFT + width + 6} y={y(part) + 3.5}>
            {share(part)}
          </text>
        </g>
      ))}
      <svg x={LEFT} width={width} height={HEIGHT}>
        <path class="gw-survival-area" d={`${line}V${BOTTOM}H${line.slice(1, line.indexOf(" "))}Z`} />
        <path class="gw-survival-line" d={line} />
      </svg>
    </svg>
  );
}

/** A path through every step in sight, or through one for each pixel. */
function lineOf(values: Float64Array, from: number, axis: Axis, y: (part: number) => number): string {
  const [first, end] = axis.state.range.value;
  const begin = Math.max(from, Math.floor(first));
  const stop = Math.min(from + values.length, Math.ceil(end));
  const stride = Math.max(1, Math.floor(1 / axis.perStep.value));
  const points: string[] = [];
  for (let k = begin; k < stop; k += stride)
    points.push(`${axis.x(k + 0.5).toFixed(1)} ${y(values[k - from]).toFixed(1)}`);
  return points.length ? `M${points.join("L")}` : "M0 0";
}
