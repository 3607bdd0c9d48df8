import { useRef } from "preact/hooks";
import { short } from "../../format";
import { slidTo } from "../sliding";
import { useWidth } from "../useWidth";
import type { Checkpoint } from "./choosing";

const HEIGHT = 44;
const TRACK = 35;
const SCORES = { top: 6, bottom: 25 };
const MARGIN = 10;

interface Props {
  points: Checkpoint[];
  /** Index of the shown checkpoint; -1 while another recording is shown. */
  place: number;
  /** Index of the checkpoint that the shown "what if" is based on; -1 without one. */
  origin: number;
  onChoose: (point: Checkpoint) => void;
}

/** A slider with a point at each checkpoint, and the validation score above it. */
export function Track({ points, place, origin, onChoose }: Props) {
  const held = useRef(false);
  const [box, width] = useWidth<HTMLDivElement>();
  const x = placed(points, width);
  const best = bestOf(points);
  const shown = points[place];
  const choose = (k: number) => {
    if (k !== place) onChoose(points[k]);
  };
  const moved = (event: KeyboardEvent) => {
    const next = slidTo(event, place < 0 ? points.length - 1 : place, points.length);
    if (next !== null) choose(next);
  };
  return (
    <div
      ref={box}
      class="gw-track"
      tabIndex={0}
      role="slider"
      aria-label="Checkpoint"
      aria-valuemin={0}
      aria-valuemax={points.length - 1}
      aria-valuenow={Math.max(0, place)}
      aria-valuetext={shown ? said(shown, place === best) : "none"}
      onKeyDown={moved}
      onPointerDown={(event) => {
        held.current = true;
        event.currentTarget.setPointerCapture(event.pointerId);
        choose(nearest(points, x, event.offsetX));
      }}
      onPointerMove={(event) => held.current && choose(nearest(points, x, event.offsetX))}
      onPointerUp={() => (held.current = false)}
      onPointerCancel={() => (held.current = false)}
    >
      {width > 0 && <Drawing points={points} x={x} best={best} width={width} shown={shown} origin={origin} />}
    </div>
  );
}

interface ScoresProps {
  points: Checkpoint[];
  x: (point: Checkpoint) => number;
  best: number;
  width: number;
}

interface DrawingProps extends ScoresProps {
  shown: Checkpoint | undefined;
  origin: number;
}

function Drawing({ points, x, best, width, shown, origin }: DrawingProps) {
  const radius = points.length > width / 9 ? 1.5 : 2.5;
  return (
    <svg width={width} height={HEIGHT} aria-hidden="true">
      <line class="gw-track-line" x1={MARGIN} x2={width - MARGIN} y1={TRACK} y2={TRACK} />
      <Scores points={points} x={x} best={best} width={width} />
      {points.map((point, k) => (
        <circle
          key={point.id}
          class={k === origin ? "gw-track-origin" : "gw-track-point"}
          cx={x(point)}
          cy={TRACK}
          r={radius}
        />
      ))}
      {shown && <line class="gw-track-shown" x1={x(shown)} x2={x(shown)} y1={2} y2={TRACK} />}
      {shown && <circle class="gw-track-shown" cx={x(shown)} cy={TRACK} r={6} />}
    </svg>
  );
}

function Scores({ points, x, best, width }: ScoresProps) {
  const scores = points.map((point) => point.score).filter((score) => score !== null);
  if (scores.length < 2) return null;
  const low = Math.min(...scores);
  const spread = Math.max(...scores) - low || 1;
  // A lower score is better, and lower on the page.
  const y = (score: number) => SCORES.bottom - ((score - low) / spread) * (SCORES.bottom - SCORES.top);
  const line = points
    .filter((point) => point.score !== null)
    .map((point) => `${x(point).toFixed(1)} ${y(point.score!).toFixed(1)}`);
  const at = points[best];
  const onLeft = x(at) > width - 50;
  return (
    <g>
      <path class="gw-track-scores" d={`M${line.join("L")}`} />
      <circle class="gw-track-best" cx={x(at)} cy={y(at.score!)} r={3} />
      <text
        class="gw-track-word"
        x={x(at) + (onLeft ? -7 : 7)}
        y={y(at.score!) - 5}
        text-anchor={onLeft ? "end" : "start"}
      >
        best
      </text>
    </g>
  );
}

function placed(points: Checkpoint[], width: number): (point: Checkpoint) => number {
  const first = points[0].step;
  const spread = points[points.length - 1].step - first || 1;
  return ({ step }) => MARGIN + ((step - first) / spread) * (width - 2 * MARGIN);
}

/** Index of the lowest score; -1 without scores. */
function bestOf(points: Checkpoint[]): number {
  let best = -1;
  points.forEach(({ score }, k) => {
    if (score !== null && (best < 0 || score < points[best].score!)) best = k;
  });
  return best;
}

function nearest(points: Checkpoint[], x: (point: Checkpoint) => number, at: number): number {
  let best = 0;
  points.forEach((point, k) => {
    if (Math.abs(x(point) - at) < Math.abs(x(points[best]) - at)) best = k;
  });
  return best;
}

function said({ step, score, unit }: Checkpoint, isBest: boolean): string {
  const scored = score === null ? "" : `, ${unit} ${short(score)}`;
  return `step ${step.toLocaleString("en")}${scored}${isBest ? ", the best" : ""}`;
}
