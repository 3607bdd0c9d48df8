// Labels of a heat-map's rows, and marks of the chosen units.

import type { ReadonlySignal } from "@preact/signals";
import { Fragment } from "preact";
import type { Size } from "../useSize";
import type { RowRange } from "./range";

/** CSS pixels that a row needs for its name. */
const NAMED = 12;
/** Minimum height of a row for a frame around it; a lower row is marked by a line. */
const FRAMED = 5;

interface RowsProps {
  size: ReadonlySignal<Size>;
  rows: ReadonlySignal<RowRange>;
  order: readonly number[];
  chosen: ReadonlySignal<number[]>;
}

export function Rows({ size, rows, order, chosen }: RowsProps) {
  const { height } = size.value;
  const [first, last] = rows.value;
  const tall = height / (last - first);
  const units = chosen.value;
  const focus = units[units.length - 1];
  const top = (row: number) => (row - first) * tall;
  const inSight = (row: number) => row >= 0 && row + 1 > first && row < last;
  const marked = units.map((unit) => ({ unit, row: order.indexOf(unit) })).filter(({ row }) => inSight(row));
  const named = tall >= NAMED ? range(Math.floor(first), Math.min(order.length, Math.ceil(last))) : [];
  return (
    <div class="gw-heat-rows" aria-hidden="true">
      {named.map((row) => (
        <span key={row} class="gw-heat-name" style={{ top: `${top(row + 0.5)}px` }}>
          {order[row]}
        </span>
      ))}
      {marked.map(({ unit, row }) => (
        <Fragment key={unit}>
          <span
            class="gw-heat-name gw-heat-chosen-name"
            style={{ top: `${Math.max(7, Math.min(height - 7, top(row + 0.5)))}px` }}
          >
            {unit}
          </span>
          <span
            class="gw-heat-chosen"
            data-framed={tall >= FRAMED || undefined}
            data-focus={unit === focus || undefined}
            style={tall >= FRAMED ? { top: `${top(row)}px`, height: `${tall}px` } : { top: `${top(row + 0.5)}px` }}
          />
        </Fragment>
      ))}
      {last - first < order.length && (
        <span
          class="gw-heat-window"
          style={{ top: `${(first / order.length) * 100}%`, height: `${((last - first) / order.length) * 100}%` }}
        />
      )}
    </div>
  );
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, k) => from + k);
}
