// Lines over the shared steps, drawn by uPlot from arrays with one entry for each step; null is a gap.

import { useEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import { trimmed } from "../format";
import { type Axis, LEFT, RIGHT } from "./axis";
import { token } from "./canvas";
import { useDrawing } from "./useDrawing";
import "./Lines.css";

export type Values = (number | null)[];

export interface Line {
  values: Values;
  /** A token, such as "--gw-truth". */
  color: string;
  dash?: number[];
  width?: number;
}

export interface Band {
  high: Values;
  low: Values;
  color: string;
}

/** The forecast made at one step: entry k is for step `from` + 1 + k. */
export interface Fan {
  from: number;
  color: string;
  median: Float32Array;
  bands: { high: Float32Array; low: Float32Array }[];
}

export interface LinesProps {
  axis: Axis;
  label: string;
  height: number;
  lines: Line[];
  bands?: Band[];
  /** Values at the bottom and at the top. */
  domain: [number, number];
  fan?: Fan | null;
}

export function Lines(props: LinesProps) {
  const { axis, label, height, lines, bands, domain, fan } = props;
  const root = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const newestFan = useRef(fan);
  newestFan.current = fan;
  const dark = axis.state.dark.value;
  const data = useMemo(() => aligned(lines, bands ?? []), [lines, bands]);
  useEffect(() => {
    const made = new uPlot(options(root.current!, props, newestFan), data, root.current!);
    plot.current = made;
    follow(made, axis, height);
    return () => made.destroy();
  }, [data, domain[0], domain[1], dark, height]);
  useDrawing([axis.state.range, axis.width], () => plot.current && follow(plot.current, axis, height));
  useEffect(() => plot.current?.redraw(false, false), [fan]);
  return <div ref={root} class="gw-lines" role="img" aria-label={label} style={{ height: `${height}px` }} />;
}

function follow(plot: uPlot, axis: Axis, height: number): void {
  const [from, to] = axis.state.range.value;
  const width = axis.width.value + LEFT + RIGHT;
  if (plot.width !== width) plot.setSize({ width, height });
  // A step is drawn in the middle of its column.
  plot.setScale("x", { min: from - 0.5, max: to - 0.5 });
}

function aligned(lines: Line[], bands: Band[]): uPlot.AlignedData {
  const T = (lines[0] ?? { values: bands[0]?.high ?? [] }).values.length;
  const steps = Float64Array.from({ length: T }, (_, t) => t);
  const edges = bands.flatMap(({ high, low }) => [high, low]);
  return [steps, ...edges, ...lines.map(({ values }) => values)] as uPlot.AlignedData;
}

/** An edge of a band. */
const UNSEEN: uPlot.Series = { stroke: "transparent", points: { show: false } };

function options(element: Element, props: LinesProps, fan: { current: Fan | null | undefined }): uPlot.Options {
  const { axis, height, lines, bands = [], domain } = props;
  const color = (name: string) => token(element, name);
  const muted = color("--gw-muted");
  return {
    width: axis.width.value + LEFT + RIGHT,
    height,
    padding: [4, RIGHT, 4, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false, auto: false }, y: { auto: false, range: () => domain } },
    series: [
      {},
      ...bands.flatMap(() => [UNSEEN, UNSEEN]),
      ...lines.map((line) => ({
        stroke: color(line.color),
        width: line.width ?? 1.25,
        points: { show: false },
        ...(line.dash && { dash: line.dash }),
      })),
    ],
    bands: bands.map((band, k) => ({ series: [2 * k + 1, 2 * k + 2], fill: soft(color(band.color)) })),
    axes: [
      { show: false },
      {
        size: LEFT,
        font: `11px ${color("--gw-sans")}`,
        stroke: muted,
        gap: 8,
        space: 26,
        grid: { stroke: color("--gw-line"), width: 1 },
        ticks: { show: false },
        values: (_, splits) => splits.map(trimmed),
      },
    ],
    hooks: { draw: [(plot) => fan.current && drawFan(plot, fan.current, color(fan.current.color))] },
  };
}

/** A translucent version of a colour (#rrggbb). */
function soft(color: string): string {
  return `${color}2e`;
}

function drawFan(plot: uPlot, fan: Fan, color: string): void {
  const { ctx, bbox } = plot;
  const x = (k: number) => plot.valToPos(fan.from + 1 + k, "x", true);
  const y = (value: number) => plot.valToPos(value, "y", true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = soft(color);
  for (const { high, low } of fan.bands) {
    ctx.beginPath();
    high.forEach((value, k) => {
      ctx.lineTo(x(k), y(value));
    });
    for (let k = low.length - 1; k >= 0; k--) ctx.lineTo(x(k), y(low[k]));
    ctx.fill();
  }
  ctx.strokeStyle = color;
  ctx.lineWidth = 2 * uPlot.pxRatio;
  ctx.beginPath();
  fan.median.forEach((value, k) => {
    ctx.lineTo(x(k), y(value));
  });
  ctx.stroke();
  ctx.restore();
}

/** The minimum and the maximum of some values, with a margin. */
export function domainOf(values: Iterable<number | null>): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || Number.isNaN(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}
