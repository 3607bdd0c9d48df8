import { useLoaded } from "../../components/useLoaded";
import type { Recording } from "../../data/recording";
import type { Numbers } from "../../data/source";
import { short, time } from "../../format";
import type { State } from "../../state";
import { coverage, type Forecasts, forecastsOf, looked, median, pairs } from "./forecast";

interface Loaded {
  forecasts: Forecasts;
  columns: Numbers;
  truth: Numbers;
  /** Null where the table has no timestamps. */
  times: Numbers | null;
}

async function load(recording: Recording, row: number): Promise<Loaded> {
  const [forecasts, columns, truth, times] = await Promise.all([
    forecastsOf(recording, row),
    recording.block(row, "columns"),
    recording.block(row, "truth"),
    recording.meta.series!.timed ? recording.block(row, "times") : null,
  ]);
  return { forecasts, columns, truth, times };
}

/** The row of the table at the chosen step, and the forecast made there. */
export function Forecasted({ state }: { state: State }) {
  const recording = state.recording.value!;
  const row = state.row.value;
  const loaded = useLoaded(state, () => load(recording, row), [recording, row]);
  if (!loaded) return null;
  const { series } = loaded.forecasts;
  const t = state.t.value;
  return (
    <>
      <section>
        {loaded.times && <p class="gw-timeline-readout-time">{time(loaded.times[t], series.step)}</p>}
        <dl class="gw-timeline-pairs">
          {series.columns.map((name, k) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd class="gw-number" data-column={name} data-value={loaded.columns[t * series.columns.length + k]}>
                {short(loaded.columns[t * series.columns.length + k])}
              </dd>
            </div>
          ))}
        </dl>
      </section>
      <section>
        <h3>{series.targets[looked(state, series).target]}, forecast from here</h3>
        <Table state={state} loaded={loaded} />
      </section>
    </>
  );
}

function Table({ state, loaded: { forecasts, truth } }: { state: State; loaded: Loaded }) {
  const { series, lstm } = forecasts;
  const { target, lead } = looked(state, series);
  const [band] = pairs(series);
  const at = (k: number) => (state.t.value * series.horizon + k) * series.targets.length + target;
  const said = (k: number, quantile: number) => lstm[at(k) * series.quantiles.length + quantile];
  const middle = median(series);
  return (
    <div class="gw-timeline-readout-scroll">
      <table class="gw-table">
        <thead>
          <tr>
            <th scope="col">ahead</th>
            <th scope="col">forecast</th>
            {band && <th scope="col">{coverage(series)} band</th>}
            <th scope="col">truth</th>
          </tr>
        </thead>
        <tbody>
          {Array.from({ length: series.horizon }, (_, k) => (
            <tr key={k} aria-selected={k + 1 === lead}>
              <th scope="row">+{k + 1}</th>
              <td data-forecast={k + 1} data-value={said(k, middle)}>
                {short(said(k, middle))}
              </td>
              {band && <td>{band.map((quantile) => short(said(k, quantile))).join(" – ")}</td>}
              <td data-truth={k + 1} data-value={truth[at(k)]}>
                {short(truth[at(k)])}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
