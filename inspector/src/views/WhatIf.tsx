import { useMemo, useState } from "preact/hooks";
import { useLoading } from "../components/useLoaded";
import { Waiting } from "../components/Waiting";
import { plural } from "../format";
import type { State } from "../state";
import { Charts } from "./whatif/Charts";
import { compare, type Look, outputs, type Run, runOf } from "./whatif/compare";
import { draftOf } from "./whatif/draft";
import { Figures } from "./whatif/Figures";
import { Form } from "./whatif/Form";
import { Symbols } from "./whatif/Symbols";
import "./WhatIf.css";

/** Change what happens in the cell, run again, and compare both runs. */
export function WhatIf({ state }: { state: State }) {
  const recording = state.recording.value;
  const original = state.baseline.value ?? recording;
  const row = state.row.value;
  const loaded = useLoading(state, async () => {
    if (!original || !recording) return null;
    const [before, after] = await Promise.all([
      runOf(original, row),
      original === recording ? null : runOf(recording, row),
    ]);
    return { before, after };
  }, [original, recording, row]);
  return (
    <div class="gw-whatif">
      <Form state={state} draft={draftOf(state)} />
      {loaded.value && !loaded.failed ? (
        <Results state={state} before={loaded.value.before} after={loaded.value.after} />
      ) : (
        <Waiting state={state} what="both runs" loaded={loaded} place="gw-whatif-waiting" />
      )}
    </div>
  );
}

function Results({ state, before, after }: { state: State; before: Run; after: Run | null }) {
  const [look, setLook] = useState<Look>({ target: 0, lead: 1, output: 0 });
  const comparison = useMemo(() => compare(before, after, look), [before, after, look]);
  const asked = after && draftOf(state).answers.get(after.meta.id);
  return (
    <div class="gw-whatif-results">
      <section class="gw-panel" aria-label="Both runs">
        <header class="gw-whatif-head">
          <h2 class="gw-whatif-note">{after ? after.meta.note || "The changed run" : "The original"}</h2>
          <Choices run={before} look={look} onLook={setLook} />
          <Key truth={comparison.truth !== null} changed={after !== null} />
        </header>
        <Charts state={state} comparison={comparison} asked={asked?.row === before.row ? asked : null} />
        {!after && (
          <p class="gw-label gw-whatif-hint">
            Choose an example or add a change, and run again. Both runs are then drawn in one plot.
          </p>
        )}
      </section>
      <section class="gw-panel gw-whatif-summary" aria-label="Figures">
        <Figures state={state} before={before} after={after} comparison={comparison} />
        {before.meta.kind === "text" && <Symbols state={state} before={before} after={after} />}
      </section>
    </div>
  );
}

interface ChoicesProps {
  run: Run;
  look: Look;
  onLook: (look: Look) => void;
}

function Choices({ run, look, onLook }: ChoicesProps) {
  if (run.meta.kind === "text") return null;
  const Shown = run.meta.kind === "layers" ? OutputChoice : SeriesChoices;
  return <Shown run={run} look={look} onLook={onLook} />;
}

function OutputChoice({ run, look, onLook }: ChoicesProps) {
  const count = outputs(run.meta);
  if (count < 2) return null;
  const choose = (output: number) =>
    onLook({ ...look, output: Math.max(0, Math.min(count - 1, Math.round(output))) });
  return (
    <label class="gw-field">
      <span class="gw-label">output</span>
      <input
        class="gw-input gw-change-number"
        type="number"
        min={0}
        max={count - 1}
        value={look.output}
        onInput={(event) => choose(Number(event.currentTarget.value))}
      />
    </label>
  );
}

function SeriesChoices({ run, look, onLook }: ChoicesProps) {
  const { targets, horizon } = run.meta.series!;
  return (
    <>
      {targets.length > 1 && (
        <select
          class="gw-select"
          aria-label="Target"
          value={look.target}
          onChange={(event) => onLook({ ...look, target: Number(event.currentTarget.value) })}
        >
          {targets.map((name, k) => (
            <option key={name} value={k}>
              {name}
            </option>
          ))}
        </select>
      )}
      {horizon > 1 && (
        <label class="gw-field">
          <span class="gw-label">forecast made</span>
          <input
            class="gw-slider"
            type="range"
            min={1}
            max={horizon}
            value={look.lead}
            aria-label="Steps ahead"
            onInput={(event) => onLook({ ...look, lead: Number(event.currentTarget.value) })}
          />
          <span class="gw-label gw-whatif-lead">{plural(look.lead, "step")} before</span>
        </label>
      )}
    </>
  );
}

function Key({ truth, changed }: { truth: boolean; changed: boolean }) {
  const lines = [
    truth && { name: "truth", color: "--gw-truth" },
    { name: "original", color: "--gw-peer" },
    changed && { name: "changed", color: "--gw-accent" },
  ].filter((line) => line !== false);
  return (
    <span class="gw-whatif-key">
      {lines.map(({ name, color }) => (
        <span key={name}>
          <i style={{ background: `var(${color})` }} />
          {name}
        </span>
      ))}
    </span>
  );
}
