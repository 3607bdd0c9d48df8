// Units over time as an image, repainted from bytes on moving and zooming. Names, marks and figures are elements.

import type { ReadonlySignal, Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type Axis, LEFT } from "./axis";
import { fit } from "./canvas";
import { paint } from "./heat/paint";
import type { Pyramid } from "./heat/pyramid";
import { Rows } from "./heat/Rows";
import type { RowRange } from "./heat/range";
import { hasWheel, wheelFactor } from "./Stage";
import { useDrawing } from "./useDrawing";
import { useSize } from "./useSize";
import "./Heatmap.css";

/** The smallest number of rows to zoom in to. */
const FEWEST = 4;

export interface HeatmapProps {
  axis: Axis;
  /** Name of the quantity. */
  part: string;
  /** Accessible name. */
  label: string;
  map: Pyramid;
  colors: Uint32Array;
  /** The unit of each row, from the top. */
  order: readonly number[];
  rows: Signal<RowRange>;
  /** The units to mark, the one in focus last. */
  chosen: ReadonlySignal<number[]>;
  /** `more`: in addition to the chosen units. */
  choose: ((unit: number, more: boolean) => void) | null;
  value: (unit: number, step: number) => number | undefined;
  /** Content of the right margin. */
  children?: ComponentChildren;
}

export function Heatmap(props: HeatmapProps) {
  const { axis, label, map, colors, order, rows, part } = props;
  const root = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const image = useRef<ImageData | null>(null);
  const size = useSize(root);
  useDrawing([axis.state.range, axis.width, rows, size], () => {
    const { height } = size.value;
    if (!canvas.current || !height || !axis.width.value) return;
    const { context } = fit(canvas.current, axis.width.value, height);
    const { width: wide, height: high } = canvas.current;
    if (image.current?.width !== wide || image.current.height !== high) {
      image.current = context.createImageData(wide, high);
    }
    const pixels = { width: wide, height: high, colors: new Uint32Array(image.current.data.buffer) };
    paint(pixels, map, colors, { steps: axis.state.range.value, rows: rows.value, order });
    context.putImageData(image.current, 0, 0);
  });
  useUnitGestures(root, props);
  return (
    <div ref={root} class="gw-heat" data-map={part}>
      <canvas ref={canvas} class="gw-heat-map" role="img" aria-label={label} />
      <Rows size={size} rows={rows} order={order} chosen={props.chosen} />
      {props.children}
    </div>
  );
}

/** The row at a pixel of the map's height. */
function rowAt({ rows, order }: HeatmapProps, y: number, height: number): number {
  const [first, last] = rows.value;
  return Math.max(0, Math.min(order.length - 1, Math.floor(first + (y / height) * (last - first))));
}

function useUnitGestures(root: { current: HTMLDivElement | null }, props: HeatmapProps): void {
  const newest = useRef(props);
  newest.current = props;
  useEffect(() => {
    const element = root.current!;
    const ends = new AbortController();
    const listen = { signal: ends.signal, passive: false };
    const place = (event: MouseEvent) => {
      const box = element.getBoundingClientRect();
      return { x: event.clientX - box.left - LEFT, y: event.clientY - box.top, height: box.height };
    };
    element.addEventListener(
      "pointermove",
      (event) => {
        if ((event.target as Element).closest("[data-still]")) return;
        const { x, y, height } = place(event);
        hover(newest.current, x, y, height);
      },
      listen,
    );
    element.addEventListener(
      "pointerdown",
      () => {
        newest.current.axis.pull = (pixels) => moveRows(newest.current, pixels / element.clientHeight);
      },
      listen,
    );
    element.addEventListener("pointerleave", () => (newest.current.axis.hoverUnit.value = null), listen);
    element.addEventListener(
      "wheel",
      (event) => {
        if (!(event.ctrlKey || event.shiftKey) || !hasWheel(element)) return;
        event.preventDefault();
        const { y, height } = place(event);
        zoomRows(newest.current, wheelFactor(event), y / height);
      },
      listen,
    );
    element.addEventListener(
      "dblclick",
      () => {
        newest.current.rows.value = [0, newest.current.order.length];
      },
      listen,
    );
    // This runs before the stage resets its record of a drag.
    element.addEventListener(
      "pointerup",
      (event) => {
        if ((event.target as Element).closest("[data-still]")) return;
        const { x, y, height } = place(event);
        const dragged = element.closest<HTMLElement>(".gw-stage")?.dataset.dragging !== undefined;
        if (dragged || x < 0) return;
        const more = event.shiftKey || event.ctrlKey || event.metaKey;
        newest.current.choose?.(newest.current.order[rowAt(newest.current, y, height)], more);
      },
      listen,
    );
    return () => ends.abort();
  }, []);
}

function hover(props: HeatmapProps, x: number, y: number, height: number): void {
  const { axis, order, part } = props;
  if (x < 0 || x >= axis.width.value) {
    axis.hoverUnit.value = null;
    return;
  }
  const unit = order[rowAt(props, y, height)];
  const step = Math.min(axis.state.steps.value - 1, Math.floor(axis.at(x)));
  axis.hoverUnit.value = { part, unit, value: props.value(unit, step) };
}

function moveRows({ rows, order }: HeatmapProps, part: number): void {
  const [first, last] = rows.value;
  const shift = Math.max(-first, Math.min(order.length - last, part * (last - first)));
  if (shift !== 0) rows.value = [first + shift, last + shift];
}

function zoomRows({ rows, order }: HeatmapProps, factor: number, part: number): void {
  const [first, last] = rows.value;
  const tall = Math.max(Math.min(FEWEST, order.length), Math.min(order.length, (last - first) * factor));
  const at = first + part * (last - first);
  const start = Math.max(0, Math.min(order.length - tall, at - part * tall));
  rows.value = [start, start + tall];
}
