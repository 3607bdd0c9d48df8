// The forecast made at a step: its median, the widest interval, and the true values.

import { useLoading } from "../../components/useLoaded";
import { useWidth } from "../../components/useWidth";
import { Waiting } from "../../components/Waiting";
import type { Recording } from "../../data/recording";
import type { Numbers } from "../../data/source";
import type { SeriesMeta } from "../../data/types";
import { plural, short } from "../../format";
import type { State } from "../../state";

const HEIGHT = 84;
const MOST_TARGETS = 3;

export function Forecast({
  state,
  recording,
  row,
  t,
  block,
}: {
  state: State;
  recording: Recording;
  row: number;
  t: number;
  block: string;
}) {
  const loaded = useLoading(
    state,
    () =>
      Promise.all([recording.block(row, block), recording.block(row, "truth"), recording.block(row, "columns")]),
    [recording, row, block],
  );
  const blocks = loaded.value;
  const [root, width] = useWidth<HTMLDivElement>();
  const series = recording.meta.series!;
  const { horizon, targets } = series;
  return (
    <div ref={root} class="gw-forecasts">
      {blocks && (t + 1) * horizon * targets.length <= blocks[1].length ? (
        targets
          .slice(0, MOST_TARGETS)
          .map((_, target) => (
            <Target {...{ series, target, t, width }} forecast={blocks[0]} truth={blocks[1]} columns={blocks[2]} />
          ))
      ) : (
        <Waiting state={state} what="the forecast" loaded={loaded} place="gw-predicts-wait" />
      )}
    </div>
  );
}

/** Past steps that are shown before the forecast. */
const past = (horizon: number) => Math.max(6, Math.min(48, 2 * horizon));

function Target({
  series,
  target,
  t,
  width,
  forecast,
  truth,
  columns,
}: {
  series: SeriesMeta;
  target: number;
  t: number;
  width: number;
  forecast: Numbers;
  truth: Numbers;
  columns: Numbers;
}) {
  const { horizon, targets, quantiles } = series;
  const Q = quantiles.length;
  const middle = quantiles.reduce(
    (best, level, q) => (Math.abs(level - 0.5) < Math.abs(quantiles[best] - 0.5) ? q : best),
    0,
  );
  const at = (n: number, q: number) => forecast[((t * horizon + n) * targets.length + target) * Q + q];
  const came = (n: number) => truth[(t * horizon + n) * targets.length + target];
  const before = Math.min(t, past(horizon));
  const C = series.columns.length;
  const known = Array.from({ length: before + 1 }, (_, k) => columns[(t - before + k) * C + target]);
  const ahead = Array.from({ length: horizon }, (_, n) => n);
  const all = [...known, ...ahead.flatMap((n) => [at(n, 0), at(n, Q - 1), came(n)])].filter(Number.isFinite);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const x = (k: number) => 4 + ((k + before) / (before + horizon)) * (width - 8);
  const y = (value: number) => 6 + (HEIGHT - 12) * ((high - value) / (high - low || 1));
  const point = (k: number, value: number) => `${x(k).toFixed(1)} ${y(value).toFixed(1)}`;
  const line = (points: [number, number][]) => {
    const real = points.filter(([, value]) => Number.isFinite(value));
    return real.length ? `M${real.map(([k, value]) => point(k, value)).join("L")}` : "";
  };
  const now = known[before];
  const upper = ahead.map((n) => point(n + 1, at(n, Q - 1)));
  const lower = ahead.map((n) => point(n + 1, at(n, 0))).reverse();
  return (
    <figure class="gw-forecast">
      <figcaption>
        <b>{targets[target]}</b> <span class="gw-label">next {plural(horizon, "step")}</span>
      </figcaption>
      {width > 0 && (
        <svg
          width={width}
          height={HEIGHT}
          role="img"
          aria-label={`Forecast of ${targets[target]}, with the true values`}
        >
          {Q > 1 && <path class="gw-forecast-band" d={`M${[...upper, ...lower].join("L")}Z`} />}
          <path class="gw-forecast-now" d={`M${x(0)} 0V${HEIGHT}`} />
          <path class="gw-forecast-past" d={line(known.map((value, k) => [k - before, value]))} />
          <path
            class="gw-forecast-came"
            d={line([[0, now], ...ahead.map((n): [number, number] => [n + 1, came(n)])])}
          />
          <path
            class="gw-forecast-median"
            d={line([[0, now], ...ahead.map((n): [number, number] => [n + 1, at(n, middle)])])}
          />
          {horizon === 1 && <circle class="gw-forecast-dot" cx={x(1)} cy={y(at(0, middle))} r={3} />}
        </svg>
      )}
      <p class="gw-label">
        next step{" "}
        <b class="gw-number gw-forecast-value" data-forecast={targets[target]} data-value={at(0, middle)}>
          {short(at(0, middle))}
        </b>
        {", came "}
        <b class="gw-number" data-value={came(0)}>
          {Number.isNaN(came(0)) ? "nothing" : short(came(0))}
        </b>
      </p>
    </figure>
  );
}
