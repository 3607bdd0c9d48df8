// Small drawings in a row of the table of units.

import { percent } from "../../format";
import type { UnitRow } from "./rows";
import { stepsText } from "./rows";

const BAR = { width: 84, height: 14 };
const SPARK = { width: 66, height: 20 };

interface HalfLifeProps {
  row: UnitRow;
  /** Ends of the axis, as `halfLifeDomain` gives them. */
  domain: [number, number];
}

/** A dot at the half-life on a log axis, and a line from its 10th to its 90th percentile. */
export function HalfLifeBar({ row, domain }: HalfLifeProps) {
  const [low, high] = domain.map(Math.log10);
  const x = (value: number) => {
    const part = (Math.log10(Math.max(value, 1e-9)) - low) / (high - low);
    return 4 + Math.max(0, Math.min(1, part)) * (BAR.width - 8);
  };
  const middle = BAR.height / 2;
  return (
    <svg
      class="gw-half-life"
      width={BAR.width}
      height={BAR.height}
      role="img"
      aria-label={`80% of the steps between ${stepsText(row.half_life_low)} and ${stepsText(row.half_life_high)}`}
    >
      <line class="gw-half-life-axis" x1={4} x2={BAR.width - 4} y1={middle} y2={middle} />
      <line
        class="gw-half-life-spread"
        x1={x(row.half_life_low)}
        x2={x(row.half_life_high)}
        y1={middle}
        y2={middle}
      />
      <circle cx={x(row.half_life)} cy={middle} r={3.5} />
    </svg>
  );
}

/** Histogram of a gate's values, from 0 on the left to 1 on the right (candidate: -1 to 1, or its own ends). */
export function Histogram({ color, counts }: { color: string; counts: number[] }) {
  const top = Math.max(1, ...counts);
  const width = SPARK.width / counts.length;
  const steps = counts.map((count, k) => {
    const y = (SPARK.height * (1 - count / top)).toFixed(1);
    return `L${(k * width).toFixed(1)} ${y}H${((k + 1) * width).toFixed(1)}`;
  });
  return (
    <svg class="gw-spark" width={SPARK.width} height={SPARK.height} aria-hidden="true" style={{ color }}>
      <path d={`M0 ${SPARK.height}${steps.join("")}V${SPARK.height}Z`} />
    </svg>
  );
}

/** The share of steps with the gate closed, from the left, and open, from the right. */
export function Ends({ color, closed, open }: { color: string; closed: number; open: number }) {
  return (
    <span class="gw-ends" role="img" aria-label={`closed ${percent(closed)}, open ${percent(open)} of the steps`}>
      <i style={{ width: `${closed * 100}%` }} />
      <i style={{ width: `${open * 100}%`, background: color }} />
    </span>
  );
}

/** A figure of a unit, with a bar relative to the maximum of the layer. */
export function Amount({ value, largest, text }: { value: number; largest: number; text: string }) {
  return (
    <span class="gw-amount">
      <span class="gw-number">{text}</span>
      <i style={{ width: `${largest > 0 ? (100 * value) / largest : 0}%` }} />
    </span>
  );
}
