// The whole sequence as a line: one unit of a state, with a mark at the chosen step.

import { useMemo } from "preact/hooks";
import { useWidth } from "../../components/useWidth";
import type { Cell } from "../../data/anatomy";
import type { State } from "../../state";
import { figure } from "./figures";

const HEIGHT = 44;

/** A state over the steps, (T, size). */
export interface Course {
  values: Float32Array;
  size: number;
  steps: number;
  part: "cell" | "hidden";
  cell: Cell;
}

export function Scrubber({ state, course, unit, t }: { state: State; course: Course; unit: number; t: number }) {
  const [root, width] = useWidth<HTMLDivElement>();
  const { values, size, steps, part } = course;
  const { letter, color } = course.cell.parts[part];
  const line = useMemo(() => outline(course, unit, width), [values, unit, width]);
  const go = (event: PointerEvent) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    state.goTo(Math.min(steps - 1, Math.floor(((event.clientX - box.left) / box.width) * steps)));
  };
  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    go(event);
  };
  const value = values[t * size + unit];
  const name = `${course.cell.parts[part].name} of unit ${unit}`;
  return (
    <div class="gw-scrub">
      <p class="gw-scrub-name">
        <span>
          <i class="gw-symbol" style={{ "--tint": color }}>
            {letter}
          </i>{" "}
          of unit {unit}
        </span>
        <span class="gw-label">
          {figure(line.low)} to {figure(line.high)}
        </span>
      </p>
      <div
        ref={root}
        class="gw-scrubber"
        data-letter={letter}
        role="slider"
        tabIndex={0}
        aria-label={`Step; the line is the ${name}`}
        aria-valuemin={0}
        aria-valuemax={steps - 1}
        aria-valuenow={t}
        aria-valuetext={`step ${t}, ${name}: ${figure(value)}`}
        onPointerDown={down}
        onPointerMove={(event) => event.buttons & 1 && go(event)}
      >
        {width > 0 && (
          <svg width={width} height={HEIGHT} aria-hidden="true">
            <path class="gw-scrub-zero" d={`M0 ${line.y(0)}H${width}`} />
            <path class="gw-scrub-line" d={line.d} />
            <path class="gw-scrub-now" d={`M${((t + 0.5) / steps) * width} 0V${HEIGHT}`} />
            <circle class="gw-scrub-dot" cx={((t + 0.5) / steps) * width} cy={line.y(value)} r={3.5} />
          </svg>
        )}
      </div>
    </div>
  );
}

interface Outline {
  d: string;
  low: number;
  high: number;
  y: (value: number) => number;
}

/** A point for each step, or the range of each pixel where steps are narrower. */
function outline({ values, size, steps }: Course, unit: number, width: number): Outline {
  let [low, high] = [Infinity, -Infinity];
  for (let k = 0; k < steps; k++) {
    const value = values[k * size + unit];
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const [bottom, top] = [Math.min(low, 0), Math.max(high, 0)];
  const y = (value: number) => 5 + (HEIGHT - 10) * ((top - value) / (top - bottom || 1));
  if (steps <= width) {
    const points = Array.from(
      { length: steps },
      (_, k) => `${(((k + 0.5) / steps) * width).toFixed(1)} ${y(values[k * size + unit]).toFixed(1)}`,
    );
    return { d: `M${points.join("L")}`, low, high, y };
  }
  let d = "";
  for (let pixel = 0; pixel < width; pixel++) {
    let [least, most] = [Infinity, -Infinity];
    const to = Math.floor(((pixel + 1) * steps) / width);
    for (let k = Math.floor((pixel * steps) / width); k < to; k++) {
      const value = values[k * size + unit];
      if (value < least) least = value;
      if (value > most) most = value;
    }
    d += `${pixel ? "L" : "M"}${pixel + 0.5} ${y(most).toFixed(1)}V${y(least).toFixed(1)}`;
  }
  return { d, low, high, y };
}
