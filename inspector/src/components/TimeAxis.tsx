import { scaleLinear, scaleUtc } from "d3-scale";
import { type Axis, LEFT } from "./axis";
import "./TimeAxis.css";

/** Minimum distance of two ticks in CSS pixels. */
const ROOM = 96;

interface Tick {
  x: number;
  text: string;
}

/** Step numbers, or times if there are any: `times` in milliseconds, one for each step. */
export function TimeAxis({ axis, times }: { axis: Axis; times: Float64Array | null }) {
  const count = Math.max(2, Math.floor(axis.width.value / ROOM));
  const ticks = times ? timeTicks(axis, times, count) : stepTicks(axis, count);
  return (
    <div class="gw-time-axis" aria-hidden="true">
      <span class="gw-time-axis-name">{times ? "time" : "step"}</span>
      {ticks.map(({ x, text }) => (
        <span key={text} class="gw-time-axis-tick" style={{ transform: `translateX(${LEFT + x}px)` }}>
          <span>{text}</span>
        </span>
      ))}
    </div>
  );
}

function stepTicks(axis: Axis, count: number): Tick[] {
  const [from, to] = axis.state.range.value;
  const steps = scaleLinear([from, to - 1], [0, 1])
    .ticks(count)
    .filter(Number.isInteger);
  return inside(
    axis,
    steps.map((step) => ({ x: axis.x(step + 0.5), text: step.toLocaleString("en") })),
  );
}

function timeTicks(axis: Axis, times: Float64Array, count: number): Tick[] {
  const [from, to] = axis.state.range.value;
  const scale = scaleUtc([timeAt(times, from), timeAt(times, to)], [0, 1]);
  const format = scale.tickFormat(count);
  const x = (date: Date) => axis.x(stepAt(times, date.getTime()) + 0.5);
  return inside(
    axis,
    scale.ticks(count).map((date) => ({ x: x(date), text: format(date) })),
  );
}

function inside(axis: Axis, ticks: Tick[]): Tick[] {
  // The name of the axis is placed just before the first step.
  return ticks.filter(({ x, text }) => x >= 3.2 * text.length - 3 && x <= axis.width.value);
}

function timeAt(times: Float64Array, step: number): number {
  return times[Math.max(0, Math.min(times.length - 1, Math.floor(step)))];
}

/** The last step at or before a time. */
function stepAt(times: Float64Array, time: number): number {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}
