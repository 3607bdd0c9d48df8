// Beside the panels: what the chosen step says, in numbers.

import { useLoaded } from "../../components/useLoaded";
import { fixed, short, time, visible } from "../../format";
import type { State } from "../../state";
import { coverage, forecastsOf, looked, median, pairs } from "./forecast";
import { RunningText } from "./RunningText";
import { UnitCard } from "./UnitCard";

export function Readout({ state }: { state: State }) {
  const { kind } = state.recording.value!.meta;
  return (
    <aside class="gw-timeline-readout" aria-label="Chosen step">
      <StepField state={state} />
      {kind === "series" && <Forecasted state={state} />}
      {kind === "text" && (
        <>
          <NextSymbols state={state} />
          <section>
            <h3>Text around it</h3>
            <RunningText state={state} />
          </section>
        </>
      )}
      {kind === "layers" && <Inputs state={state} />}
      <UnitCard state={state} />
    </aside>
  );
}

function StepField({ state }: { state: State }) {
  const last = state.steps.value - 1;
  return (
    <label class="gw-field gw-timeline-step-field">
      <h3>Step</h3>
      <input
        class="gw-input"
        type="number"
        min={0}
        max={last}
        value={state.t.value}
        onChange={(event) => state.goTo(Number(event.currentTarget.value))}
      />
      <span class="gw-label">of {state.steps.value.toLocaleString("en")}</span>
    </label>
  );
}

function Forecasted({ state }: { state: State }) {
  const recording = state.recording.value!;
  const series = recording.meta.series!;
  const row = state.row.value;
  const t = state.t.value;
  const { target, lead } = looked(state, series);
  const loaded = useLoaded(
    state,
    async () => {
      const [forecasts, columns, times, truth] = await Promise.all([
        forecastsOf(recording, row),
        recording.block(row, "columns"),
        series.timed ? recording.block(row, "times") : null,
        recording.block(row, "truth"),
      ]);
      return { forecasts, columns, times, truth };
    },
    [recording, row],
  );
  if (!loaded) return null;
  const { forecasts, columns, times, truth } = loaded;
  const wide = series.quantiles.length;
  const at = (k: number) => (t * series.horizon + k) * series.targets.length + target;
  const [band] = pairs(series);
  const steps = Array.from({ length: series.horizon }, (_, k) => k);
  return (
    <>
      <section>
        {times && <p class="gw-timeline-readout-time">{time(times[t], series.step)}</p>}
        <dl class="gw-timeline-pairs">
          {series.columns.map((name, k) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd class="gw-number">{short(columns[t * series.columns.length + k])}</dd>
            </div>
          ))}
        </dl>
      </section>
      <section>
        <h3>{series.targets[target]}, forecast from here</h3>
        <div class="gw-timeline-readout-scroll">
          <table class="gw-table gw-forecast-table">
            <thead>
              <tr>
                <th scope="col">ahead</th>
                <th scope="col">forecast</th>
                {band && <th scope="col">{coverage(series)} band</th>}
                <th scope="col">truth</th>
              </tr>
            </thead>
            <tbody>
              {steps.map((k) => {
                const said = forecasts.lstm[at(k) * wide + median(series)];
                return (
                  <tr key={k} aria-selected={k + 1 === lead}>
                    <th scope="row">+{k + 1}</th>
                    <td data-forecast={k + 1} data-value={said}>{short(said)}</td>
                    {band && (
                      <td>
                        {short(forecasts.lstm[at(k) * wide + band[0]])} – {short(forecasts.lstm[at(k) * wide + band[1]])}
                      </td>
                    )}
                    <td>{short(truth[at(k)])}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      </section>
    </>
  );
}

const BEST = 5;

function NextSymbols({ state }: { state: State }) {
  const recording = state.recording.value!;
  const { symbols: names } = recording.meta.text!;
  const row = state.row.value;
  const t = state.t.value;
  const loaded = useLoaded(
    state,
    async () => {
      const peer = recording.has(row, "peer/scores") ? recording.block(row, "peer/scores") : null;
      const [symbols, scores, other] = await Promise.all([
        recording.block(row, "symbols"),
        recording.block(row, "scores"),
        peer,
      ]);
      return { symbols, scores, other };
    },
    [recording, row],
  );
  if (!loaded) return null;
  const V = names.length;
  const { symbols, scores, other } = loaded;
  const came = t + 1 < symbols.length ? symbols[t + 1] : null;
  const ranked = [...names.keys()].sort((a, b) => scores[t * V + b] - scores[t * V + a]);
  const best = ranked.slice(0, BEST);
  const listed = came === null || best.includes(came) ? best : [...best, came];
  return (
    <section>
      <h3>
        After “{visible(names[symbols[t]])}”, next likely
      </h3>
      <table class="gw-table gw-timeline-next">
        <thead>
          <tr>
            <th scope="col">symbol</th>
            <th scope="col">probability</th>
            {other && <th scope="col">{recording.meta.peer!.name}</th>}
          </tr>
        </thead>
        <tbody>
          {listed.map((symbol) => {
            const p = Math.exp(scores[t * V + symbol]);
            return (
              <tr key={symbol} data-came={symbol === came || undefined} data-value={p}>
                <th scope="row">
                  <kbd>{visible(names[symbol])}</kbd>
                  {symbol === came && <span class="gw-label">came</span>}
                </th>
                <td>
                  <span class="gw-timeline-next-bar" style={{ width: `${p * 72}px` }} />
                  {p < 0.005 ? short(p) : fixed(p, 2)}
                </td>
                {other && <td>{fixed(Math.exp(other[t * V + symbol]), 2)}</td>}
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

function Inputs({ state }: { state: State }) {
  const recording = state.recording.value!;
  const row = state.row.value;
  const names = recording.meta.inputs;
  const inputs = useLoaded(state, () => recording.block(row, "inputs"), [recording, row]);
  if (!inputs) return null;
  return (
    <section>
      <h3>Inputs at this step</h3>
      <dl class="gw-timeline-pairs">
        {names.map((name, k) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd class="gw-number">{short(inputs[state.t.value * names.length + k])}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
