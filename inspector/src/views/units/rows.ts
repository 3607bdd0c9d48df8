// The rows of the table of units: figures of the diagnosis, sorting and filters.

import { GATES, type Gate, type Switch } from "../../data/cell";
import type { LayerDiagnosis } from "../../data/types";
import { namesUnits, unitsOf } from "../../units";

export interface UnitRow {
  unit: number;
  labels: string[];
  /** In steps, between resets for a unit that resets; Infinity for one that never forgets half. */
  half_life: number;
  /** Over all steps, including resets. */
  half_life_overall: number;
  resetting: boolean;
  half_life_low: number;
  half_life_high: number;
  write_rate: number;
  activity: number;
  /** Of the gates that the cell has. */
  closed: Partial<Record<Switch, number>>;
  open: Partial<Record<Switch, number>>;
  /** Means of the gates over the steps, from the histograms. */
  mean: Partial<Record<Gate, number>>;
  histograms: Partial<Record<Gate, number[]>>;
}

export function unitRows(layer: LayerDiagnosis): UnitRow[] {
  const each = <K extends string>(of: Partial<Record<K, number[]>>, unit: number) =>
    Object.fromEntries(
      Object.entries<number[] | undefined>(of).map(([key, values]) => [key, values![unit]]),
    ) as Partial<Record<K, number>>;
  const ends = (gate: Gate) => layer.ranges?.[gate] ?? [gate === "candidate" ? -1 : 0, 1];
  return layer.half_life.map((half_life, unit) => {
    const histograms: Partial<Record<Gate, number[]>> = {};
    const means: Partial<Record<Gate, number>> = {};
    for (const gate of GATES) {
      const counts = layer.histograms[gate]?.[unit];
      if (!counts) continue;
      histograms[gate] = counts;
      means[gate] = mean(counts, ends(gate));
    }
    return {
      unit,
      labels: layer.labels[unit],
      half_life: half_life ?? Infinity,
      resetting: layer.labels[unit].includes("resets"),
      half_life_overall: layer.half_life_overall[unit] ?? Infinity,
      half_life_low: layer.half_life_low[unit] ?? Infinity,
      half_life_high: layer.half_life_high[unit] ?? Infinity,
      write_rate: layer.write_rate[unit],
      activity: layer.activity[unit],
      closed: each(layer.closed, unit),
      open: each(layer.open, unit),
      mean: means,
      histograms,
    };
  });
}

/** The mean of a histogram with equal bins between two ends, with each value in the middle of its bin. */
function mean(counts: number[], [low, high]: readonly [number, number] | number[]): number {
  const width = (high - low) / counts.length;
  let count = 0;
  let sum = 0;
  counts.forEach((n, k) => {
    count += n;
    sum += n * (low + (k + 0.5) * width);
  });
  return sum / count;
}

/** The figures that the table can be sorted by; `closed.input_gate` and the like for those of a gate. */
export type SortKey =
  | "unit"
  | "labels"
  | "half_life"
  | "write_rate"
  | "activity"
  | "mean.candidate"
  | `closed.${Switch}`
  | `mean.${Switch}`
  | `open.${Switch}`;

export interface Sorting {
  key: SortKey;
  descending: boolean;
}

export function sorted(rows: UnitRow[], { key, descending }: Sorting): UnitRow[] {
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const x = figure(a, key);
    const y = figure(b, key);
    return x === y ? a.unit - b.unit : (x < y ? -1 : 1) * sign;
  });
}

function figure(row: UnitRow, key: SortKey): number | string {
  if (key === "labels") return row.labels.join(", ");
  const [name, gate] = key.split(".") as ["closed" | "mean" | "open", Switch];
  return gate ? (row[name][gate] ?? 0) : row[key as "unit" | "half_life" | "write_rate" | "activity"];
}

/** Rows that match a text: numbers such as "3, 7-12" are units, anything else is a part of a label. */
export function matching(rows: UnitRow[], text: string, hidden: number): UnitRow[] {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return rows;
  if (!namesUnits(wanted)) return rows.filter((row) => row.labels.some((label) => label.includes(wanted)));
  const units = new Set(unitsOf(wanted, hidden));
  return rows.filter(({ unit }) => units.has(unit));
}

/** Each label and the number of its units, the most frequent first. */
export function labelCounts(rows: UnitRow[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const row of rows) for (const label of row.labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

/** Ends of a log axis for finite half-lives: 1, 2 or 5 times a power of ten. */
export function halfLifeDomain(rows: UnitRow[]): [number, number] {
  const finite = rows.map((row) => row.half_life).filter((value) => Number.isFinite(value) && value > 0);
  if (!finite.length) return [1, 10];
  const low = Math.max(0.1, Math.min(...finite));
  const high = Math.max(10 * low, ...finite);
  const round = (value: number) => [1, 2, 5, 10].map((part) => part * 10 ** Math.floor(Math.log10(value)));
  return [round(low).findLast((end) => end <= low * 1.001)!, round(high).find((end) => end >= high * 0.999)!];
}

/** A number of steps, with more decimals for a smaller one. */
export function stepsText(value: number): string {
  if (!Number.isFinite(value)) return "∞";
  if (value >= 99.95) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 9.995 ? 1 : 2);
}

/** A share in percent, to two significant digits where it is small. */
export function shareText(share: number): string {
  const percent = share * 100;
  if (percent >= 9.95 || percent === 0) return `${Math.round(percent).toLocaleString("en")}%`;
  if (percent < 0.9e-5) return "less than 0.00001%";
  return `${percent.toFixed(Math.max(1, 1 - Math.floor(Math.log10(percent)))).replace(/\.?0+$/, "")}%`;
}
