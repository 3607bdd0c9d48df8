import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Cell } from "../../data/anatomy";
import type { Switch } from "../../data/cell";
import { halfLifeDomain, type Sorting, type SortKey, sorted, type UnitRow } from "./rows";
import { type Extent, UnitTableRow } from "./TableRow";

const ROW_HEIGHT = 38;
const HEAD_HEIGHT = 54;
/** Rows rendered outside the visible ones, so that fast scrolling shows no gaps. */
const SPARE = 8;
/** The number of scrolled rows after which rows are rendered again. */
const STRIDE = 4;
const MOST_IN_SIGHT = 14;

interface Column {
  key: SortKey;
  name: string;
  title: string;
  width: number;
}

const PLAIN: Column[] = [
  { key: "unit", name: "unit", title: "Number of the unit", width: 56 },
  { key: "labels", name: "labels", title: "Labels of the diagnosis", width: 204 },
  {
    key: "half_life",
    name: "half-life",
    title: "Steps until half is left (between resets, for a unit that resets), and 80% of its range",
    width: 148,
  },
  { key: "write_rate", name: "write rate", title: "Mean size of what a step writes", width: 74 },
  { key: "activity", name: "activity", title: "Standard deviation of the hidden state over the steps", width: 70 },
];

const gated = (gate: Switch): Column[] => [
  {
    key: `closed.${gate}` as const,
    name: "closed",
    title: "Share of the steps with the gate below 0.1",
    width: 44,
  },
  {
    key: `mean.${gate}` as const,
    name: "0 … 1",
    title: "Histogram of the gate's values; sorts by the mean",
    width: 72,
  },
  { key: `open.${gate}` as const, name: "open", title: "Share of the steps with the gate above 0.9", width: 44 },
];

const candidate = (ends: string): Column => ({
  key: "mean.candidate",
  name: ends,
  title: "Histogram of the candidate's values; sorts by the mean",
  width: 84,
});

interface Props {
  cell: Cell;
  /** The ends of the histograms of the candidate. */
  ends: string;
  /** The rows to show, in any order; `all` set the scales. */
  rows: UnitRow[];
  all: UnitRow[];
  chosen: readonly number[];
  onChoose: (unit: number, add: boolean) => void;
  /** Why there are no rows; "" where none matches. */
  wrong: string;
}

/** One row for each unit; only visible rows are in the document. */
export function UnitTable({ cell, ends, rows, all, chosen, onChoose, wrong }: Props) {
  const [sorting, setSorting] = useState<Sorting>({ key: "unit", descending: false });
  const scroller = useRef<HTMLDivElement>(null);
  const [first, setFirst] = useState(0);
  const shown = useMemo(() => sorted(rows, sorting), [rows, sorting]);
  const extent = useMemo(() => extentOf(all), [all]);
  const columns = useMemo(() => [...cell.switches.flatMap(gated), candidate(ends)], [cell, ends]);
  const inSight = Math.min(MOST_IN_SIGHT, Math.max(3, shown.length));
  const focus = chosen[chosen.length - 1];
  const focusedRow = shown.findIndex((row) => row.unit === focus);

  useEffect(() => {
    if (focusedRow >= 0) reveal(scroller.current!, focusedRow);
  }, [focus, sorting, rows]);

  const from = Math.max(0, Math.min(first, shown.length - inSight) - SPARE);
  const to = Math.min(shown.length, first + inSight + STRIDE + SPARE);
  const moved = (event: KeyboardEvent) => {
    const step = strideOf(event.key, inSight);
    if (step === null || !shown.length || (event.target as Element).closest("thead")) return;
    event.preventDefault();
    onChoose(shown[Math.max(0, Math.min(shown.length - 1, focusedRow + step))].unit, event.shiftKey);
  };
  return (
    <div
      ref={scroller}
      class="gw-units-scroll"
      style={{ maxHeight: `${HEAD_HEIGHT + inSight * ROW_HEIGHT + 12}px` }}
      tabIndex={0}
      role="group"
      aria-label="Units; arrow keys choose one"
      onKeyDown={moved}
      onScroll={(event) => setFirst(Math.floor(event.currentTarget.scrollTop / ROW_HEIGHT / STRIDE) * STRIDE)}
    >
      <table
        class="gw-table gw-units-table"
        role="grid"
        aria-label="Units"
        aria-multiselectable="true"
        aria-rowcount={shown.length + 2}
      >
        <colgroup>
          {[...PLAIN, ...columns].map(({ key, width }) => (
            <col key={key} style={{ width: `${width}px` }} />
          ))}
        </colgroup>
        <Head cell={cell} columns={columns} sorting={sorting} onSort={(key) => setSorting(next(sorting, key))} />
        <Body cell={cell} shown={shown} from={from} to={to} extent={extent} chosen={chosen} onChoose={onChoose} />
      </table>
      {!shown.length && (
        <p class="gw-units-nothing gw-label" role="status">
          {wrong || "No unit has this label or number."}
        </p>
      )}
    </div>
  );
}

interface BodyProps extends Pick<Props, "cell" | "chosen" | "onChoose"> {
  shown: UnitRow[];
  /** The rows that are in the document, from (inclusive) to (exclusive). */
  from: number;
  to: number;
  extent: Extent;
}

function Body({ cell, shown, from, to, extent, chosen, onChoose }: BodyProps) {
  const focus = chosen[chosen.length - 1];
  return (
    <tbody>
      <Space rows={from} />
      {shown.slice(from, to).map((row, k) => (
        <UnitTableRow
          key={row.unit}
          cell={cell}
          row={row}
          // Two header rows precede the first.
          index={from + k + 3}
          height={ROW_HEIGHT}
          extent={extent}
          chosen={chosen.includes(row.unit)}
          focus={row.unit === focus}
          onChoose={onChoose}
        />
      ))}
      <Space rows={shown.length - to} />
    </tbody>
  );
}

/** A spacer for rows that are not in the document. */
function Space({ rows }: { rows: number }) {
  return <tr aria-hidden="true" class="gw-units-space" style={{ height: `${rows * ROW_HEIGHT}px` }} />;
}

function strideOf(key: string, page: number): number | null {
  const strides = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
  return key in strides ? strides[key as keyof typeof strides] : null;
}

interface HeadProps {
  cell: Cell;
  /** Of the gates and the candidate. */
  columns: readonly Column[];
  sorting: Sorting;
  onSort: (key: SortKey) => void;
}

function Head({ cell: { switches, parts }, columns, sorting, onSort }: HeadProps) {
  const header = ({ key, name, title }: Column, rows = 1) => (
    <th
      key={key}
      scope="col"
      rowSpan={rows}
      title={title}
      class={`gw-units-${key.split(".")[0]}`}
      aria-sort={sorting.key !== key ? "none" : sorting.descending ? "descending" : "ascending"}
    >
      <button type="button" onClick={() => onSort(key)}>
        {name}
        <i aria-hidden="true">{sorting.key !== key ? "" : sorting.descending ? "↓" : "↑"}</i>
      </button>
    </th>
  );
  return (
    <thead>
      <tr>
        {PLAIN.map((column) => header(column, 2))}
        {switches.map((gate) => (
          <th key={gate} scope="colgroup" colSpan={3} class="gw-units-gate">
            <i class="gw-dot" style={{ background: parts[gate].color }} />
            {parts[gate].name}
          </th>
        ))}
        <th scope="colgroup" class="gw-units-gate">
          <i class="gw-dot" style={{ background: parts.candidate.color }} />
          {parts.candidate.name}
        </th>
      </tr>
      <tr>{columns.map((column) => header(column))}</tr>
    </thead>
  );
}

/** A first click sorts in descending order, units in ascending order; a second one reverses it. */
function next(sorting: Sorting, key: SortKey): Sorting {
  if (sorting.key === key) return { key, descending: !sorting.descending };
  return { key, descending: key !== "unit" };
}

function extentOf(rows: UnitRow[]): Extent {
  return {
    half_life: halfLifeDomain(rows),
    write_rate: Math.max(...rows.map((row) => row.write_rate)),
    activity: Math.max(...rows.map((row) => row.activity)),
  };
}

function reveal(scroller: HTMLDivElement, row: number): void {
  const top = row * ROW_HEIGHT;
  const room = scroller.clientHeight - HEAD_HEIGHT - ROW_HEIGHT;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (top > scroller.scrollTop + room) scroller.scrollTop = top - room;
}
