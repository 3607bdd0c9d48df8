import type { Cell } from "../../data/anatomy";
import type { Gate } from "../../data/cell";
import type { State } from "../../state";
import { unitsText } from "../../units";
import { ChangeFields } from "./Changes";
import { type Change, type Draft, presets } from "./draft";

const KIND_NAME: Record<Change["kind"], string> = {
  clamp: "Hold a gate",
  ablate: "Ablate units",
  edit: "Set the cell state",
};

/** The form of the changes, and the button that runs the model again. */
export function Form({ state, draft }: { state: State; draft: Draft }) {
  const changes = draft.changes.value;
  const running = draft.running.value;
  const put = (changes: Change[]) => {
    draft.changes.value = changes;
    draft.trouble.value = "";
  };
  return (
    <form
      class="gw-panel gw-whatif-form"
      aria-label="What to change"
      onSubmit={(event) => {
        event.preventDefault();
        void draft.run();
      }}
    >
      <h2>What if …</h2>
      <Presets
        state={state}
        disabled={running}
        onPreset={(change) => {
          put([change]);
          void draft.run();
        }}
      />
      {changes.map((change, k) => (
        <ChangeCard
          key={k}
          state={state}
          change={change}
          onChange={(changed) => put(changes.map((old, other) => (other === k ? changed : old)))}
          onRemove={() => put(changes.filter((_, other) => other !== k))}
        />
      ))}
      <AddBar onAdd={(kind) => put([...changes, blank(kind, state)])} />
      {draft.trouble.value && (
        <p class="gw-whatif-trouble" role="alert">
          {draft.trouble.value}
        </p>
      )}
      <RunBar state={state} running={running} />
    </form>
  );
}

function AddBar({ onAdd }: { onAdd: (kind: Change["kind"]) => void }) {
  return (
    <div class="gw-whatif-add" role="group" aria-label="Add a change">
      {(Object.keys(KIND_NAME) as Change["kind"][]).map((kind) => (
        <button type="button" key={kind} class="gw-button" onClick={() => onAdd(kind)}>
          + {KIND_NAME[kind]}
        </button>
      ))}
    </div>
  );
}

interface ChangeCardProps {
  state: State;
  change: Change;
  onChange: (change: Change) => void;
  onRemove: () => void;
}

function ChangeCard({ state, change, onChange, onRemove }: ChangeCardProps) {
  const { parts } = state.recording.value!.cell;
  const name = change.kind === "clamp" ? `Hold the ${parts[change.gate].name}` : KIND_NAME[change.kind];
  return (
    <fieldset class="gw-change">
      <legend>{name}</legend>
      <button
        type="button"
        class="gw-button gw-button-quiet gw-change-remove"
        aria-label={`Remove: ${name}`}
        title="Remove"
        onClick={onRemove}
      >
        ×
      </button>
      <ChangeFields state={state} change={change} onChange={onChange} />
    </fieldset>
  );
}

function RunBar({ state, running }: { state: State; running: boolean }) {
  const original = state.baseline.value;
  return (
    <div class="gw-whatif-run">
      <button type="submit" class="gw-button gw-button-main" disabled={running}>
        {running ? "Running …" : "Run again"}
      </button>
      {original && (
        <button
          type="button"
          class="gw-button"
          disabled={running}
          onClick={() => void state.show(original.meta.id)}
        >
          Back to the original
        </button>
      )}
      <i class="gw-whatif-progress" data-running={running} aria-hidden="true" />
    </div>
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
      {presets(state.recording.value!.cell, state.t.value, state.units.value).map(({ name, says, change }) => (
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

/** The gate that a new change holds. */
function firstHeld({ holdable }: Cell): Gate {
  return holdable.includes("forget_gate") ? "forget_gate" : holdable[0];
}

/** A new change for the chosen units at the chosen step. */
function blank(kind: Change["kind"], state: State): Change {
  const units = unitsText(state.units.value);
  if (kind === "ablate") return { kind, units };
  if (kind === "edit") return { kind, units, value: "0", t: String(state.t.value) };
  const gate = firstHeld(state.recording.value!.cell);
  return { kind, units, gate, value: gate === "candidate" ? "0" : "1", first: "", last: "" };
}
