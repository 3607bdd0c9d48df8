// The whole sequence as a strip, with a frame around the steps in sight, which can be dragged and resized.

import { useEffect, useRef } from "preact/hooks";
import type { Axis } from "./axis";
import { fit, token } from "./canvas";
import { useDrawing } from "./useDrawing";
import { type Size, useSize } from "./useSize";
import "./Overview.css";

/** CSS pixels at both ends of the frame that resize it. */
const EDGE = 6;

type Grip = "from" | "to" | "whole";

export function Overview({ axis, values }: { axis: Axis; values: ArrayLike<number> | null }) {
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const chosen = useRef<HTMLDivElement>(null);
  const size = useSize(root);
  const { state } = axis;
  useDrawing([size, state.dark], () => values && sketch(canvas.current!, values, size.value));
  useDrawing([state.range, state.steps, state.t], () => {
    const T = state.steps.value;
    const [from, to] = state.range.value;
    frame.current!.style.left = `${(from / T) * 100}%`;
    frame.current!.style.width = `${((to - from) / T) * 100}%`;
    chosen.current!.style.left = `${((state.t.value + 0.5) / T) * 100}%`;
  });
  useDragging(root, axis);
  return (
    <div class="gw-overview" data-still>
      <div ref={root} class="gw-overview-strip" title="The whole sequence: drag the frame, or its ends">
        <canvas ref={canvas} aria-hidden="true" />
        <div ref={chosen} class="gw-overview-chosen" />
        <div ref={frame} class="gw-overview-frame" />
      </div>
    </div>
  );
}

/** A line from the minimum to the maximum of each pixel. */
function sketch(canvas: HTMLCanvasElement, values: ArrayLike<number>, { width, height }: Size): void {
  const { context, ratio } = fit(canvas, width, height);
  const wide = canvas.width;
  const lows = new Float64Array(wide).fill(Infinity);
  const highs = new Float64Array(wide).fill(-Infinity);
  for (let t = 0; t < values.length; t++) {
    const value = values[t];
    if (Number.isNaN(value)) continue;
    const x = Math.floor((t / values.length) * wide);
    if (value < lows[x]) lows[x] = value;
    if (value > highs[x]) highs[x] = value;
  }
  const low = lows.reduce((a, b) => Math.min(a, b), Infinity);
  const high = highs.reduce((a, b) => Math.max(a, b), -Infinity);
  const room = 3 * ratio;
  const y = (value: number) => room + (1 - (value - low) / (high - low || 1)) * (canvas.height - 2 * room);
  context.clearRect(0, 0, wide, canvas.height);
  context.strokeStyle = token(canvas, "--gw-muted");
  context.lineWidth = ratio;
  context.globalAlpha = 0.75;
  context.beginPath();
  for (let x = 0; x < wide; x++) {
    if (lows[x] > highs[x]) continue;
    context.lineTo(x + 0.5, y(highs[x]));
    if (highs[x] > lows[x]) context.lineTo(x + 0.5, y(lows[x]));
  }
  context.stroke();
}

function useDragging(root: { current: HTMLDivElement | null }, { state }: Axis): void {
  useEffect(() => {
    const element = root.current!;
    const ends = new AbortController();
    let grip: Grip | null = null;
    let offset = 0;
    const stepAt = (event: PointerEvent) => {
      const box = element.getBoundingClientRect();
      return ((event.clientX - box.left) / box.width) * state.steps.value;
    };
    const gripAt = (event: PointerEvent): Grip | null => {
      const [from, to] = state.range.value;
      const edge = (EDGE / element.clientWidth) * state.steps.value;
      const step = stepAt(event);
      if (Math.abs(step - from) < edge && from > 0) return "from";
      if (Math.abs(step - to) < edge && to < state.steps.value) return "to";
      return step >= from && step <= to ? "whole" : null;
    };
    element.addEventListener(
      "pointerdown",
      (event) => {
        element.setPointerCapture(event.pointerId);
        const [from, to] = state.range.value;
        const step = stepAt(event);
        grip = gripAt(event);
        if (!grip) {
          state.zoom(step - (to - from) / 2, step + (to - from) / 2);
          grip = "whole";
        }
        offset = step - state.range.value[0];
      },
      { signal: ends.signal },
    );
    element.addEventListener(
      "pointermove",
      (event) => {
        element.dataset.grip = grip ?? gripAt(event) ?? "";
        const [from, to] = state.range.value;
        const step = stepAt(event);
        if (grip === "from") state.range.value = [Math.max(0, Math.min(step, to - Math.min(8, to))), to];
        if (grip === "to") state.range.value = [from, Math.min(state.steps.value, Math.max(step, from + 8))];
        if (grip === "whole") state.zoom(step - offset, step - offset + to - from);
      },
      { signal: ends.signal },
    );
    const release = () => (grip = null);
    element.addEventListener("pointerup", release, { signal: ends.signal });
    element.addEventListener("pointercancel", release, { signal: ends.signal });
    element.addEventListener("dblclick", () => state.zoom(0, state.steps.value), { signal: ends.signal });
    return () => ends.abort();
  }, []);
}
