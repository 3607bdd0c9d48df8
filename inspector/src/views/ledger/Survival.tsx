// The fraction of each step's write that is left: the product of the forget gates since.

import { type Axis, LEFT, RIGHT } from "../../components/axis";
import type { Account } from "./account";

const HEIGHT = 64;
const TOP = 6;
const BOTTOM = HEIGHT - 4;

export function Survival({ account, axis }: { account: Account; axis: Axis }) {
  const { survival, from } = account;
  if (!survival) return null;
  const width = axis.width.value;
  const y = (part: number) => BOTTOM - (BOTTOM - TOP) * part;
  const line = lineOf(survival, from, axis, y);
  return (
    <svg
      class="gw-survival"
      width={LEFT + width + RIGHT}
      height={HEIGHT}
      role="img"
      aria-label="Fraction of each write that is left"
    >
      <text class="gw-ledger-tick" x={LEFT - 8} y={TOP + 8}>
        ∏ f
      </text>
      {[0, 0.5, 1].map((part) => (
        <g>
          <path class="gw-ledger-grid" d={`M${LEFT} ${y(part)}h${width}`} />
          <text class="gw-survival-tick" x={LEFT + width + 6} y={y(part) + 3.5}>
            {part * 100}%
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
function lineOf(survival: Float64Array, from: number, axis: Axis, y: (part: number) => number): string {
  const [first, end] = axis.state.range.value;
  const begin = Math.max(from, Math.floor(first));
  const stop = Math.min(from + survival.length, Math.ceil(end));
  const stride = Math.max(1, Math.floor(1 / axis.perStep.value));
  const points: string[] = [];
  for (let k = begin; k < stop; k += stride)
    points.push(`${axis.x(k + 0.5).toFixed(1)} ${y(survival[k - from]).toFixed(1)}`);
  return points.length ? `M${points.join("L")}` : "M0 0";
}
