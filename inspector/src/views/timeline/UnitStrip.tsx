// The figure that units are sorted by, in the right margin of the heat-map.

import type { ReadonlySignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { RIGHT } from "../../components/axis";
import { fit, token } from "../../components/canvas";
import type { RowRange } from "../../components/heat/range";
import { useDrawing } from "../../components/useDrawing";
import { useSize } from "../../components/useSize";
import { trimmed } from "../../format";
import type { State } from "../../state";
import type { Figure } from "./figure";

/** CSS pixels between the map and the strip. */
const GAP = 10;
const WIDTH = RIGHT - GAP;

interface UnitStripProps {
  state: State;
  figure: Figure;
  order: readonly number[];
  rows: ReadonlySignal<RowRange>;
}

export function UnitStrip({ state, figure, order, rows }: UnitStripProps) {
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = useSize(root);
  useDrawing([size, rows, state.dark, state.units], () => {
    const { width, height } = size.value;
    if (!height) return;
    const { context, ratio } = fit(canvas.current!, width, height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const plain = token(canvas.current!, "--gw-muted");
    const accent = token(canvas.current!, "--gw-accent");
    const [first, last] = rows.value;
    const tall = height / (last - first);
    const thick = Math.max(1, Math.min(5, tall - 1));
    const zero = part(figure, Math.max(figure.low, 0)) * width;
    for (let row = Math.floor(first); row < Math.min(order.length, last); row++) {
      const value = figure.values[order[row]];
      const x = (value === null ? 1 : part(figure, value)) * (width - 2);
      const y = (row + 0.5 - first) * tall - thick / 2;
      context.fillStyle = state.units.value.includes(order[row]) ? accent : plain;
      context.globalAlpha = 0.35;
      context.fillRect(Math.min(x, zero), y, Math.abs(x - zero), thick);
      context.globalAlpha = 1;
      context.fillRect(x, y, 2, thick);
    }
  });
  return (
    <div ref={root} class="gw-timeline-unit-strip" style={{ width: `${WIDTH}px` }} aria-hidden="true">
      <canvas ref={canvas} />
    </div>
  );
}

/** The legend of the strip, for the bar above it. */
export function FigureName({ figure }: { figure: Figure }) {
  return (
    <span class="gw-timeline-figure" style={{ width: `${WIDTH}px` }} title={figure.explained}>
      <span>{figure.name}</span>
      <span class="gw-timeline-figure-ends">
        <span>{trimmed(figure.low)}</span>
        <span>{trimmed(figure.high)}</span>
      </span>
    </span>
  );
}

function part({ low, high, log }: Figure, value: number): number {
  const place = log ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low);
  return Math.max(0, Math.min(1, place));
}
