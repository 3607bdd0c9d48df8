// Lines of a forecaster's recording: true values, and forecasts made some steps before.

import type { Band, Fan, Values } from "../../components/Lines";
import type { Recording } from "../../data/recording";
import type { SeriesMeta } from "../../data/types";
import type { State } from "../../state";
import { known } from "./tracks";

export interface Forecasts {
  series: SeriesMeta;
  /** (T, horizon, targets, quantiles). */
  lstm: Float32Array;
  peer: Float32Array | null;
}

export async function forecastsOf(recording: Recording, row: number): Promise<Forecasts> {
  const series = recording.meta.series!;
  const peer = recording.meta.peer && recording.has(row, "peer/forecast");
  const [lstm, other] = await Promise.all([
    recording.block(row, "forecast"),
    peer ? recording.block(row, "peer/forecast") : null,
  ]);
  return { series, lstm: lstm as Float32Array, peer: other as Float32Array | null };
}

/** The chosen target and lead, within what this recording has. */
export function looked(state: State, { targets, horizon }: SeriesMeta): { target: number; lead: number } {
  return { target: Math.min(state.target.value, targets.length - 1), lead: Math.min(state.lead.value, horizon) };
}

/** Index of the quantile nearest to 0.5. */
export function median({ quantiles }: SeriesMeta): number {
  return quantiles.reduce((best, q, k) => (Math.abs(q - 0.5) < Math.abs(quantiles[best] - 0.5) ? k : best), 0);
}

/** Pairs of quantiles that enclose the median, the widest first. */
export function pairs({ quantiles }: SeriesMeta): [low: number, high: number][] {
  const count = Math.floor(quantiles.length / 2);
  return Array.from({ length: count }, (_, k) => [k, quantiles.length - 1 - k]);
}

/** The nominal coverage of the widest band, such as "80%"; "" without a band. */
export function coverage(series: SeriesMeta): string {
  const [widest] = pairs(series);
  return widest ? `${Math.round((series.quantiles[widest[1]] - series.quantiles[widest[0]]) * 100)}%` : "";
}

/** The forecast for each step, made `lead` steps before. */
export function ahead(
  forecast: Float32Array,
  { horizon, targets, quantiles }: SeriesMeta,
  target: number,
  lead: number,
  quantile: number,
): Values {
  const each = horizon * targets.length * quantiles.length;
  const offset = ((lead - 1) * targets.length + target) * quantiles.length + quantile;
  const T = forecast.length / each;
  return Array.from({ length: T }, (_, t) => (t < lead ? null : known(forecast[(t - lead) * each + offset])));
}

export function bandsAhead({ series, lstm }: Forecasts, target: number, lead: number): Band[] {
  return pairs(series).map(([low, high]) => ({
    low: ahead(lstm, series, target, lead, low),
    high: ahead(lstm, series, target, lead, high),
    color: "--gw-hidden",
  }));
}

/** The forecast made at a step, for all steps of the horizon. */
export function fanAt({ series, lstm }: Forecasts, target: number, t: number): Fan {
  const wide = series.quantiles.length;
  const { horizon, targets } = series;
  const at = (k: number) => ((t * horizon + k) * targets.length + target) * wide;
  const line = (quantile: number) => Float32Array.from({ length: horizon }, (_, k) => lstm[at(k) + quantile]);
  return {
    from: t,
    color: "--gw-accent",
    median: line(median(series)),
    bands: pairs(series).map(([low, high]) => ({ low: line(low), high: line(high) })),
  };
}
