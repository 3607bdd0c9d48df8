// The panel on the side: the numbers of the chosen step.

import { useLoaded } from "../../components/useLoaded";
import { short } from "../../format";
import type { State } from "../../state";
import { Forecasted } from "./Forecasted";
import { NextSymbols } from "./NextSymbols";
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
      <strong>Step</strong>
      <input
        class="gw-input"
        type="number"
        min={0}
        max={last}
        value={state.t.value}
        onChange={(event) => state.goTo(Number(event.currentTarget.value))}
      />
      <span class="gw-label">of 0 – {(state.steps.value - 1).toLocaleString("en")}</span>
    </label>
  );
}

/** Inputs that are listed. */
const LISTED = 24;

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
        {names.slice(0, LISTED).map((name, k) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd class="gw-number">{short(inputs[state.t.value * names.length + k])}</dd>
          </div>
        ))}
      </dl>
      {names.length > LISTED && <p class="gw-label">and {names.length - LISTED} more</p>}
    </section>
  );
}
