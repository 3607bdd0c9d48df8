// The other direction: what becomes of the write of the chosen step.

import { scaleLinear } from "d3-scale";
import { useMemo } from "preact/hooks";
import { useWidth } from "../../components/useWidth";
import { fate, halfLife } from "../../data/ledger";
import { plural, short } from "../../format";
import { share } from "../cell/figures";
import { readBefore, type UnitBlocks } from "./account";

const HEIGHT = 128;
const BOTTOM = 20;
/** Margins of the curve, for the labels of its heights and of its last step. */
const LEFT = 44;
const RIGHT = 24;
/** From this width of a step on, the decay between two steps is drawn in pieces, as the half-life interpolates it. */
const WIDE = 8;
const PIECES = 6;

export function Fate({ blocks, t }: { blocks: UnitBlocks; t: number }) {
  const [root, width] = useWidth<HTMLDivElement>();
  const { column, direction, steps, unit } = blocks;
  const n = readBefore(direction, steps, t);
  const left = useMemo(() => fate(column.kept, n), [column, n]);
  const half = useMemo(() => halfLife(left), [left]);
  const wrote = column.written[n];
  const last = left.length - 1;
  return (
    <section class="gw-fate" aria-label="What becomes of this write">
      <h3>
        What step {t.toLocaleString("en")} writes{" "}
        <span class="gw-label" data-half-life={half ?? ""}>
          unit {unit} takes in{" "}
          <b class="gw-number" data-value={wrote}>
            {short(wrote)}
          </b>
          ; {outlook(left, half)}
        </span>
      </h3>
      <div ref={root}>{width > 0 && last > 0 && <Curve left={left} half={half} width={width} />}</div>
    </section>
  );
}

function outlook(left: Float64Array, half: number | null): string {
  const last = left.length - 1;
  if (last === 0) return "no step follows.";
  const end = `${share(left[last])} is left at the end, after ${plural(last, "step")}.`;
  if (half === null) return `it never falls to half: ${end}`;
  const steps = half < 10 ? half.toFixed(1) : Math.round(half).toLocaleString("en");
  return `half is forgotten after ${steps} steps, and ${end}`;
}

/** The steps to draw: until a hundredth is left. */
function Curve({ left, half, width }: { left: Float64Array; half: number | null; width: number }) {
  const gone = left.findIndex((part) => part < 0.01);
  const end = Math.min(left.length - 1, Math.max(10, gone < 0 ? left.length - 1 : Math.ceil(gone * 1.15)));
  const x = scaleLinear([0, end], [LEFT, width - RIGHT]);
  const y = scaleLinear([0, 1], [HEIGHT - BOTTOM, 8]);
  const stride = Math.max(1, Math.floor(end / width));
  const points: string[] = [];
  const point = (n: number, part: number) => points.push(`${x(n).toFixed(1)} ${y(part).toFixed(1)}`);
  for (let n = 0; n <= end; n += stride) {
    point(n, left[n]);
    if (x(1) - x(0) < WIDE || n === end) continue;
    for (let k = 1; k < PIECES; k++) point(n + k / PIECES, left[n] * (left[n + 1] / left[n]) ** (k / PIECES) || 0);
  }
  const line = `M${points.join("L")}`;
  return (
    <svg width={width} height={HEIGHT} role="img" aria-label="Fraction that is left, by steps after the write">
      {[0, 0.5, 1].map((part) => (
        <g>
          <path class="gw-ledger-grid" d={`M${LEFT} ${y(part)}H${width - RIGHT}`} />
          <text class="gw-ledger-tick" x={LEFT - 8} y={y(part) + 3.5}>
            {part * 100}%
          </text>
        </g>
      ))}
      {x
        .ticks(Math.max(2, Math.floor(width / 110)))
        .filter(Number.isInteger)
        .map((tick) => (
          <text class="gw-fate-tick" x={x(tick)} y={HEIGHT - 5}>
            {tick === 0 ? "now" : `+${tick.toLocaleString("en")}`}
          </text>
        ))}
      <path class="gw-survival-area" d={`${line}V${y(0)}H${LEFT}Z`} />
      <path class="gw-survival-line" d={line} />
      {half !== null && half <= end && (
        <>
          <path class="gw-fate-half" d={`M${x(half)} ${y(0.5)}V${y(0)}`} />
          <circle class="gw-fate-dot" cx={x(half)} cy={y(0.5)} r={3.5} />
        </>
      )}
    </svg>
  );
}
