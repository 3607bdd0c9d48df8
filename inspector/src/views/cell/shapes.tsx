// Elements of the drawings: lines, circles, boxes, and the belt of the cell state.

import { boxHeight, type Point, pillWidth, RADIUS, route } from "./geometry";
import { Letter } from "./Letter";

/** Lines at least as thick as this have dots inside them. */
const INSIDE = 3.5;

/** Dots that run along a line during play: inside it, or on it where it is thin. */
function Flow({ d, weight }: { d: string; weight: number }) {
  return <path class="gw-flow" data-inside={weight >= INSIDE} d={d} />;
}

/** A line with a wider invisible area to point at. */
export function Wire({
  way,
  weight = 1.5,
  flow = true,
  thin = false,
}: {
  way: readonly Point[];
  weight?: number;
  flow?: boolean;
  /** A side line: dashed, without dots. */
  thin?: boolean;
}) {
  const d = route(way);
  return (
    <>
      <path class="gw-hit" d={d} />
      <path class="gw-wire" data-thin={thin} d={d} style={{ strokeWidth: weight }} />
      {flow && !thin && <Flow d={d} weight={weight} />}
    </>
  );
}

/** An arrow head with its tip at (x, y). */
export function Tip({ x, y, to }: { x: number; y: number; to: "up" | "right" | "down" }) {
  const d = {
    up: `M${x - 4.5} ${y + 8}L${x} ${y}L${x + 4.5} ${y + 8}Z`,
    down: `M${x - 4.5} ${y - 8}L${x} ${y}L${x + 4.5} ${y - 8}Z`,
    right: `M${x - 8} ${y - 4.5}L${x} ${y}L${x - 8} ${y + 4.5}Z`,
  }[to];
  return <path class="gw-arrow" d={d} />;
}

/** The arrow head of the belt. */
export function BeltTip({ x, y, thick }: { x: number; y: number; thick: number }) {
  const half = Math.max(4.5, thick / 2 + 3);
  return <path class="gw-arrow" d={`M${x - 8} ${y - half}L${x} ${y}L${x - 8} ${y + half}Z`} />;
}

/** The line of the cell state between two places; its thickness is the size of the number on it. */
export function Belt({ from, to, y, thick }: { from: number; to: number; y: number; thick: number }) {
  const half = Math.max(1, thick / 2);
  return (
    <>
      <path class="gw-hit" d={`M${from} ${y}H${to}`} />
      <rect class="gw-belt" x={from} y={y - half} width={Math.max(0, to - from)} height={2 * half} />
      <Flow d={`M${from} ${y}H${to}`} weight={2 * half} />
    </>
  );
}

/** A pointwise operation with two inputs. */
export function Circle({ x, y, sign }: { x: number; y: number; sign: "⊗" | "+" }) {
  const s = 4.5;
  const d =
    sign === "⊗"
      ? `M${x - s} ${y - s}l${2 * s} ${2 * s}m0 ${-2 * s}l${-2 * s} ${2 * s}`
      : `M${x - 6} ${y}h12M${x} ${y - 6}v12`;
  return (
    <>
      <circle class="gw-op" cx={x} cy={y} r={RADIUS} />
      <path class="gw-sign" d={d} />
    </>
  );
}

/** A pointwise function, or a mean of two. */
export function Pill({ x, y, text }: { x: number; y: number; text: string }) {
  const width = pillWidth(text);
  return <Pillow from={x - width / 2} to={x + width / 2} y={y} text={text} />;
}

/** The same over a range. */
export function Pillow({ from, to, y, text }: { from: number; to: number; y: number; text: string }) {
  return (
    <>
      <rect class="gw-op" x={from} y={y - 11} width={to - from} height={22} rx={11} />
      <text class="gw-op-name" x={(from + to) / 2} y={y + 4}>
        {text}
      </text>
    </>
  );
}

/** A gap in a line where another one crosses it. */
export function Over({ d }: { d: string }) {
  return <path class="gw-over" d={d} />;
}

const BOX = 82;

/** A layer of learned weights. */
export function Box({
  x,
  top,
  first,
  curve,
  sub,
  name,
}: {
  x: number;
  top: number;
  /** What happens before the activation. */
  first?: string | undefined;
  curve: string;
  sub?: string | undefined;
  name: string;
}) {
  const height = boxHeight(first !== undefined);
  const bottom = top + height;
  return (
    <>
      <rect class="gw-box" x={x - BOX / 2} y={top} width={BOX} height={height} rx={6} />
      {first && (
        <text class="gw-box-name" x={x} y={top + 13}>
          {first}
        </text>
      )}
      <text class="gw-box-curve" x={x} y={bottom - 20}>
        {curve}
        {sub && (
          <tspan class="gw-sub" dy={3}>
            {sub}
          </tspan>
        )}
      </text>
      <text class="gw-box-name" x={x} y={bottom - 7}>
        {name}
      </text>
    </>
  );
}

/** The label at an end of a line. */
export function End({
  x,
  y,
  letter,
  sub,
  text,
  anchor,
}: {
  x: number;
  y: number;
  letter: string;
  sub: string;
  text: string;
  anchor: "start" | "middle" | "end";
}) {
  return (
    <>
      <Letter x={x} y={y} letter={letter} sub={sub} anchor={anchor} />
      <text class="gw-end" x={x} y={y + 15} text-anchor={anchor}>
        {text}
      </text>
    </>
  );
}
