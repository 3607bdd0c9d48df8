import { scaleLog } from "d3-scale";
import { useMemo, useState } from "preact/hooks";
import { slidTo } from "../../components/sliding";
import { useWidth } from "../../components/useWidth";
import { plural } from "../../format";
import { BottomAxis, type Frame, powersOfTen } from "./axes";
import { halfLifeDomain, stepsText, type UnitRow } from "./rows";

const HEIGHT = 196;
/** Margin on the right for units that never forget half. */
const FOREVER = 44;
const DIAMETERS = [26, 22, 18, 14, 12, 10, 8, 7, 6, 5, 4, 3, 2];
/** Minimum diameter of a dot that shows the number of its unit. */
const NUMBERED = 18;

interface Props {
  rows: UnitRow[];
  chosen: readonly number[];
  onChoose: (unit: number, add: boolean) => void;
}

/** Every unit as a dot at its half-life, stacked where several are close. */
export function HalfLives({ rows, chosen, onChoose }: Props) {
  const [box, width] = useWidth<HTMLDivElement>();
  const [pointed, setPointed] = useState<UnitRow | null>(null);
  const focus = rows[chosen[chosen.length - 1]];
  return (
    <section class="gw-panel gw-half-lives" aria-label="Half-lives">
      <header class="gw-units-head">
        <h2>Half-lives</h2>
        <span class="gw-label">one dot per unit</span>
        {(pointed ?? focus) && <span class="gw-number gw-half-lives-unit">{described(pointed ?? focus)}</span>}
      </header>
      <p class="gw-units-sentence">{summary(rows)}</p>
      <div ref={box} class="gw-units-drawing" style={{ height: `${HEIGHT}px` }}>
        {width > 0 && (
          <Dots
            rows={rows}
            chosen={chosen}
            width={width}
            pointed={pointed}
            onPoint={setPointed}
            onChoose={onChoose}
          />
        )}
      </div>
    </section>
  );
}

interface DotsProps extends Props {
  width: number;
  pointed: UnitRow | null;
  onPoint: (row: UnitRow | null) => void;
}

function Dots({ rows, chosen, width, pointed, onPoint, onChoose }: DotsProps) {
  const forever = rows.some((row) => row.half_life === Infinity);
  const frame: Frame = { left: 16, right: width - (forever ? FOREVER + 8 : 20), top: 10, bottom: HEIGHT - 36 };
  const domain = useMemo(() => halfLifeDomain(rows), [rows]);
  const x = scaleLog().domain(domain).range([frame.left, frame.right]);
  const { dots, diameter } = useMemo(() => stacked(rows, frame, x), [rows, width]);
  const ranked = useMemo(() => [...rows].sort((a, b) => a.half_life - b.half_life || a.unit - b.unit), [rows]);
  const rank = ranked.findIndex((row) => row.unit === chosen[chosen.length - 1]);
  const at = (event: PointerEvent | MouseEvent) => nearest(dots, event.offsetX, event.offsetY);
  const moved = (event: KeyboardEvent) => {
    const place = slidTo(event, rank, ranked.length);
    if (place !== null) onChoose(ranked[place].unit, false);
  };
  return (
    <svg
      width={width}
      height={HEIGHT}
      tabindex={0}
      role="slider"
      aria-label="Unit, by half-life"
      aria-valuemin={1}
      aria-valuemax={ranked.length}
      aria-valuenow={rank + 1}
      aria-valuetext={ranked[rank] && described(ranked[rank])}
      style={{ cursor: pointed ? "pointer" : "default" }}
      onKeyDown={moved}
      onPointerMove={(event) => onPoint(at(event))}
      onPointerLeave={() => onPoint(null)}
      onClick={(event) => {
        const row = at(event);
        if (row) onChoose(row.unit, event.shiftKey || event.ctrlKey || event.metaKey);
      }}
    >
      <BottomAxis
        frame={frame}
        label="half-life in steps"
        ticks={powersOfTen(domain).map((value) => ({ at: x(value), text: value.toLocaleString("en") }))}
      />
      {forever && <ForeverAxis frame={frame} />}
      <Stacks dots={dots} diameter={diameter} chosen={chosen} pointed={pointed} />
    </svg>
  );
}

function ForeverAxis({ frame: { right, bottom } }: { frame: Frame }) {
  return (
    <g class="gw-axis" aria-hidden="true">
      <line x1={right + 18} x2={right + FOREVER + 4} y1={bottom} y2={bottom} />
      <text class="gw-axis-forever" x={right + 9 + FOREVER / 2} y={bottom + 16} text-anchor="middle">
        ∞
      </text>
    </g>
  );
}

interface Dot {
  row: UnitRow;
  cx: number;
  cy: number;
}

interface StacksProps {
  dots: Dot[];
  diameter: number;
  chosen: readonly number[];
  pointed: UnitRow | null;
}

function Stacks({ dots, diameter, chosen, pointed }: StacksProps) {
  const marked = new Set(chosen);
  const focus = dots.find(({ row }) => row.unit === chosen[chosen.length - 1]);
  return (
    <>
      {dots.map(({ row, cx, cy }) => (
        <g key={row.unit} data-dot={row.unit} data-at={cx}>
          <circle
            cx={cx}
            cy={cy}
            r={Math.max(1, diameter / 2 - 0.5)}
            class={marked.has(row.unit) ? "gw-dot-chosen" : row === pointed ? "gw-dot-pointed" : "gw-dot-unit"}
          />
          {diameter >= NUMBERED && (
            <text class="gw-dot-number" x={cx} y={cy} dy="0.35em" text-anchor="middle">
              {row.unit}
            </text>
          )}
        </g>
      ))}
      {focus && <circle class="gw-dot-focus" cx={focus.cx} cy={focus.cy} r={diameter / 2 + 2.5} />}
    </>
  );
}

/** Dots at their half-lives, stacked where they would touch, and as large as the tallest stack allows. */
function stacked(rows: UnitRow[], frame: Frame, x: (value: number) => number): { dots: Dot[]; diameter: number } {
  const forever = frame.right + 9 + FOREVER / 2;
  const places = rows
    .map((row) => ({
      row,
      cx: Number.isFinite(row.half_life) ? Math.max(frame.left, x(Math.max(row.half_life, 1e-9))) : forever,
    }))
    .sort((a, b) => a.cx - b.cx || a.row.unit - b.row.unit);
  const fits = (diameter: number) => {
    // The last dot of each level, from the axis upwards.
    const ends: number[] = [];
    const dots = places.map(({ row, cx }) => {
      const free = ends.findIndex((end) => cx - end >= diameter);
      const level = free < 0 ? ends.length : free;
      ends[level] = cx;
      return { row, cx, cy: frame.bottom - (level + 0.5) * diameter - 1 };
    });
    return { dots, high: ends.length * diameter };
  };
  const diameter = DIAMETERS.find((one) => fits(one).high <= frame.bottom - frame.top) ?? DIAMETERS.at(-1)!;
  return { dots: fits(diameter).dots, diameter };
}

function nearest(dots: Dot[], px: number, py: number): UnitRow | null {
  let best: UnitRow | null = null;
  let distance = 16;
  for (const { row, cx, cy } of dots) {
    const d = Math.hypot(px - cx, py - cy);
    if (d < distance) [best, distance] = [row, d];
  }
  return best;
}

function described({ unit, half_life, half_life_low, half_life_high, resetting }: UnitRow): string {
  const range = `${stepsText(half_life_low)} … ${stepsText(half_life_high)}`;
  return `unit ${unit}: ${stepsText(half_life)}${between(resetting)} (${range})`;
}

function between(resetting: boolean): string {
  return resetting ? " between resets" : "";
}

function summary(rows: UnitRow[]): string {
  const ranked = [...rows].sort((a, b) => a.half_life - b.half_life);
  const forever = ranked.filter((row) => row.half_life === Infinity).length;
  const never = forever ? `${plural(forever, "unit")} never ${forever === 1 ? "does" : "do"}.` : "";
  const middle = ranked[Math.floor((ranked.length - 1) / 2)];
  const slowest = ranked[ranked.length - forever - 1];
  if (middle.half_life === Infinity)
    return `Most units never forget half of their state: ${plural(forever, "unit")}.`;
  return (
    `The median unit forgets half of its state in ${stepsText(middle.half_life)} steps; the slowest, ` +
    `unit ${slowest.unit}, in ${stepsText(slowest.half_life)}${between(slowest.resetting)}. ${never}`
  );
}
