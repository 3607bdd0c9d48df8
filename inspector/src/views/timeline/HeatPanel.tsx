import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { palette } from "../../colors";
import type { Axis } from "../../components/axis";
import { Heatmap } from "../../components/Heatmap";
import type { RowRange } from "../../components/heat/range";
import { Legend } from "../../components/Legend";
import { Cover, Waiting } from "../../components/Waiting";
import type { Measures } from "../../data/quantities";
import { trimmed } from "../../format";
import { comparable } from "../../order";
import type { Order, State } from "../../state";
import { type Figure, figureOf } from "./figure";
import { FigureName, UnitStrip } from "./UnitStrip";
import { type Shown, useMap } from "./useMap";

/** All units at all steps, coloured by one quantity. */
export function HeatPanel({ axis }: { axis: Axis }) {
  const { state } = axis;
  const loaded = useMap(state);
  const shown = loaded.value;
  const recording = state.recording.value!;
  const sorted = state.sorted.value;
  const figure = useMemo(() => sorted && figureOf(sorted, recording), [sorted, recording]);
  const { measures } = recording;
  const signed = measures.hasSign(shown?.quantity ?? "cell");
  const colors = useMemo(() => palette(signed, state.dark.value), [signed, state.dark.value]);
  const units = state.shown.value;
  // A projected hidden state does not have one number for each unit.
  const projected = shown?.projected ?? false;
  const order = useMemo(
    () => (projected ? [...Array(shown!.units).keys()] : units),
    [projected, units, shown?.units],
  );
  const wanted = `the map of the ${measures.of[state.quantity.value].name}`;
  const ready = shown && order.length > 0 && order.length === shown.units;
  return (
    <>
      <div class="gw-timeline-bar" data-still>
        <Quantities state={state} />
        <SortBy state={state} />
        {shown && (
          <div class="gw-timeline-says">
            <p class="gw-label">{measures.of[shown.quantity].says}</p>
            {signed && <Each state={state} />}
            <Scale measures={measures} shown={shown} colors={colors} />
          </div>
        )}
        {figure && !projected && <FigureName figure={figure} />}
      </div>
      {ready ? (
        <Units axis={axis} shown={shown} colors={colors} order={order} projected={projected} figure={figure}>
          <Cover state={state} what={wanted} loaded={loaded} />
        </Units>
      ) : (
        <div class="gw-heat">
          <Waiting state={state} what={wanted} loaded={loaded} place="gw-heat-map" />
        </div>
      )}
    </>
  );
}

interface UnitsProps {
  axis: Axis;
  shown: Shown;
  colors: Uint32Array;
  order: readonly number[];
  /** Whether the rows are places of a projection, not units. */
  projected: boolean;
  figure: Figure | null;
  /** Content over the map. */
  children: ComponentChildren;
}

function Units({ axis, shown, colors, order, projected, figure, children }: UnitsProps) {
  const { state } = axis;
  const rows = useSignal<RowRange>([0, order.length]);
  useEffect(() => {
    rows.value = [0, order.length];
  }, [order.length]);
  const none = useSignal<number[]>([]);
  const focus = projected ? -1 : order.indexOf(state.unit.value);
  useEffect(() => {
    rows.value = holding(rows.value, focus, order.length);
  }, [focus]);
  const { name } = state.recording.value!.measures.of[shown.quantity];
  const choose = (unit: number, more: boolean) => {
    state.units.value = more ? withUnit(state.units.value, unit) : [unit];
  };
  return (
    <Heatmap
      axis={axis}
      part={name}
      label={`${name} of ${order.length} units over ${state.steps.value} steps`}
      map={shown.map}
      colors={colors}
      order={order}
      rows={rows}
      chosen={projected ? none : state.units}
      choose={projected ? null : choose}
      value={shown.value}
    >
      {figure && !projected && <UnitStrip state={state} figure={figure} order={order} rows={rows} />}
      {children}
    </Heatmap>
  );
}

/** Add a unit, with the focus; or remove it if it is there and not the only one. */
function withUnit(units: readonly number[], unit: number): number[] {
  const others = units.filter((one) => one !== unit);
  return others.length === units.length || !others.length ? [...others, unit] : others;
}

/** Move the rows so that one of them is in sight. */
function holding([first, last]: RowRange, row: number, count: number): RowRange {
  if (row < 0 || (row >= first && row + 1 <= last)) return [first, last];
  const tall = last - first;
  const start = Math.max(0, Math.min(count - tall, row < first ? row - 1 : row + 2 - tall));
  return [start, start + tall];
}

function Quantities({ state }: { state: State }) {
  const { measures } = state.recording.value!;
  return (
    <div class="gw-segments" role="group" aria-label="Quantity">
      {measures.present.map((quantity) => {
        const { name, letter, color } = measures.of[quantity];
        const short = name.replace(/ (gate|state)$/, "");
        return (
          <button
            key={quantity}
            type="button"
            aria-pressed={state.quantity.value === quantity}
            title={`${name} (${letter})`}
            onClick={() => (state.quantity.value = quantity)}
          >
            <i class="gw-dot" style={{ background: color }} />
            {short}
          </button>
        );
      })}
    </div>
  );
}

const ORDER_NAME: Record<Exclude<Order, "correlation">, string> = {
  index: "index",
  half_life: "half-life",
  activity: "activity",
};

function SortBy({ state }: { state: State }) {
  const recording = state.recording.value!;
  const columns = comparable(recording);
  const names = columns.length ? columns : ["error"];
  const chosen = state.order.value === "correlation" ? `column ${state.column.value}` : state.order.value;
  const choose = (value: string) => {
    const column = /^column (\d+)$/.exec(value);
    if (column) state.column.value = Number(column[1]);
    state.order.value = column ? "correlation" : (value as Order);
  };
  return (
    <label class="gw-field" title="The order of the units from the top">
      <span class="gw-label">sorted by</span>
      <select
        class="gw-select gw-timeline-sort"
        aria-label="Sort units by"
        value={chosen}
        onChange={(event) => choose(event.currentTarget.value)}
      >
        {Object.entries(ORDER_NAME).map(([order, name]) => (
          <option key={order} value={order}>
            {name}
          </option>
        ))}
        <optgroup label="correlation of the cell state with">
          {names.map((name, k) => (
            <option key={name} value={`column ${k}`}>
              {name}
            </option>
          ))}
        </optgroup>
      </select>
    </label>
  );
}

function Each({ state }: { state: State }) {
  return (
    <label
      class="gw-field"
      title="A colour scale for each unit, up to its own maximum, so that small values are visible"
    >
      <input
        type="checkbox"
        checked={state.each.value}
        onChange={(event) => (state.each.value = event.currentTarget.checked)}
      />
      <span class="gw-label">scale per unit</span>
    </label>
  );
}

function Scale({ measures, shown, colors }: { measures: Measures; shown: Shown; colors: Uint32Array }) {
  const { quantity, limit } = shown;
  const open = limit !== null && measures.of[quantity].range === "unbounded";
  const high = trimmed(limit ?? 1);
  const note =
    limit === null
      ? "Each unit up to its own maximum; point at a value to read it."
      : open
        ? "99.5% of the values lie in this range; values outside it have the colour of its end."
        : quantity === "survival"
          ? "The part of each step's write that is left at the chosen step."
          : undefined;
  return (
    <span class="gw-timeline-scale" data-scale={quantity} data-value={limit ?? ""}>
      <Legend
        colors={colors}
        low={limit === null ? "−max" : open ? `≤ −${high}` : measures.hasSign(quantity) ? "−1" : "0"}
        high={limit === null ? "max" : open ? `≥ ${high}` : "1"}
        note={note}
      />
    </span>
  );
}
