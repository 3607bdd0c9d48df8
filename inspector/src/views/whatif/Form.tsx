import { PART_NAME } from "../../colors";
import type { State } from "../../state";
import { ChangeFields } from "./Changes";
import { presets, unitsText, type Change, type Draft } from "./draft";

const KIND_NAME: Record<Change["kind"], string> = { clamp: "Hold a gate", ablate: "Ablate units", edit: "Set the cell state" };

/** What to change, and the button that runs the model again. */
export function Form({ state, draft }: { state: State; draft: Draft }) {
  const changes = draft.changes.value;
  const running = draft.running.value;
  const put = (changes: Change[]) => {
    draft.changes.value = changes;
    draft.trouble.value = "";
  };
  return (
    <form class="gw-panel gw-whatif-form" aria-label="What to change" onSubmit={(event) => {
      event.preventDefault();
      void draft.run();
    }}>
      <h2>What if …</h2>
      <Presets state={state} disabled={running} onPreset={(change) => {
        put([change]);
        void draft.run();
      }} />
      {changes.map((change, k) => (
        <fieldset key={k} class="gw-change">
          <legend>{change.kind === "clamp" ? `Hold the ${PART_NAME[change.gate].name}` : KIND_NAME[change.kind]}</legend>
          <button type="button" class="gw-button gw-button-quiet gw-change-remove" aria-label={`Remove: ${KIND_NAME[change.kind]}`}
            title="Remove" onClick={() => put(changes.filter((_, other) => other !== k))}>
            ×
          </button>
          <ChangeFields state={state} change={change} onChange={(changed) => put(changes.map((old, other) => (other === k ? changed : old)))} />
        </fieldset>
      ))}
      <div class="gw-whatif-add" role="group" aria-label="Add a change">
        {(Object.keys(KIND_NAME) as Change["kind"][]).map((kind) => (
          <button type="button" key={kind} class="gw-button" onClick={() => put([...changes, blank(kind, state)])}>
            + {KIND_NAME[kind]}
          </button>
        ))}
      </div>
      {draft.trouble.value && <p class="gw-whatif-trouble" role="alert">{draft.trouble.value}</p>}
      <div class="gw-whatif-run">
        <button type="submit" class="gw-button gw-button-main" disabled={running}>{running ? "Running …" : "Run again"}</button>
        {state.baseline.value && (
          <button type="button" class="gw-button" disabled={running} onClick={() => void state.show(state.baseline.value!.meta.id)}>
            Back to the original
          </button>
        )}
        <i class="gw-whatif-progress" data-running={running} aria-hidden="true" />
      </div>
    </form>
  );
}

interface PresetsProps {
  state: State;
  disabled: boolean;
  onPreset: (change: Change) => void;
}

function Presets({ state, disabled, onPreset }: PresetsProps) {
  return (
    <ul class="gw-whatif-presets" aria-label="Examples">
      {presets(state.t.value, state.unit.value).map(({ name, says, change }) => (
        <li key={name}>
          <button type="button" disabled={disabled} onClick={() => onPreset(change)}>
            <strong>{name}</strong>
            <span class="gw-label">{says}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

/** A new change, of the chosen units and at the chosen step. */
function blank(kind: Change["kind"], state: State): Change {
  const units = unitsText(state.units.value);
  if (kind === "ablate") return { kind, units };
  if (kind === "edit") return { kind, units, value: "0", t: String(state.t.value) };
  return { kind, units, gate: "forget_gate", value: "1", first: "", last: "" };
}
