import { PART_COLOR, PART_NAME } from "../../colors";
import type { State } from "../../state";
import { CLAMPED, gateRange, unitsText, type Change, type Clamp, type Edit } from "./draft";

interface Props<C extends Change> {
  state: State;
  change: C;
  onChange: (change: C) => void;
}

/** The fields of one change. */
export function ChangeFields({ state, change, onChange }: Props<Change>) {
  const units = <Units state={state} units={change.units} onUnits={(units) => onChange({ ...change, units })} />;
  if (change.kind === "ablate") return <>{units}<p class="gw-label">Their hidden state is 0 at every step.</p></>;
  if (change.kind === "edit") return <>{units}<EditFields state={state} change={change} onChange={onChange} /></>;
  return <>{units}<ClampFields state={state} change={change} onChange={onChange} /></>;
}

function Units({ state, units, onUnits }: { state: State; units: string; onUnits: (units: string) => void }) {
  return (
    <div class="gw-change-row">
      <label class="gw-change-field">
        <span class="gw-label">units</span>
        <input class="gw-input" value={units} placeholder="3, 7, 10-14" spellcheck={false}
          onInput={(event) => onUnits(event.currentTarget.value)} />
      </label>
      <button type="button" class="gw-button" onClick={() => onUnits(unitsText(state.units.value))} title="The units that are chosen">chosen</button>
      <button type="button" class="gw-button" onClick={() => onUnits("all")}>all</button>
    </div>
  );
}

function ClampFields({ state, change, onChange }: Props<Clamp>) {
  const [low, high] = gateRange(change.gate);
  const set = (part: Partial<Clamp>) => onChange({ ...change, ...part });
  const value = Number(change.value);
  return (
    <>
      <div class="gw-change-row">
        <label class="gw-change-field">
          <span class="gw-label">gate</span>
          <select class="gw-select" value={change.gate} style={{ borderLeftColor: PART_COLOR[change.gate] }}
            onChange={(event) => set({ gate: event.currentTarget.value as Clamp["gate"] })}>
            {CLAMPED.map((gate) => <option key={gate} value={gate}>{PART_NAME[gate].name}</option>)}
          </select>
        </label>
      </div>
      <div class="gw-change-row">
        <label class="gw-change-field">
          <span class="gw-label">held at</span>
          <input class="gw-slider" type="range" min={low} max={high} step={0.01} value={Number.isFinite(value) ? value : low}
            aria-label="Value of the gate" style={{ accentColor: PART_COLOR[change.gate] }}
            onInput={(event) => set({ value: event.currentTarget.value })} />
        </label>
        <input class="gw-input gw-change-number" value={change.value} inputMode="decimal" aria-label="Value of the gate, as a number"
          onInput={(event) => set({ value: event.currentTarget.value })} />
      </div>
      <div class="gw-change-row">
        <label class="gw-change-field">
          <span class="gw-label">steps</span>
          <input class="gw-input" value={change.first} placeholder="first" inputMode="numeric" aria-label="First step"
            onInput={(event) => set({ first: event.currentTarget.value })} />
        </label>
        <label class="gw-change-field gw-change-to">
          <span class="gw-label">to</span>
          <input class="gw-input" value={change.last} placeholder="last" inputMode="numeric" aria-label="Last step"
            onInput={(event) => set({ last: event.currentTarget.value })} />
        </label>
        <button type="button" class="gw-button" title={`From the chosen step (${state.t.value}) on`}
          onClick={() => set({ first: String(state.t.value), last: "" })}>
          here
        </button>
      </div>
    </>
  );
}

function EditFields({ state, change, onChange }: Props<Edit>) {
  const set = (part: Partial<Edit>) => onChange({ ...change, ...part });
  return (
    <>
      <div class="gw-change-row">
        <label class="gw-change-field">
          <span class="gw-label">set to</span>
          <input class="gw-input" value={change.value} inputMode="decimal" onInput={(event) => set({ value: event.currentTarget.value })} />
        </label>
      </div>
      <div class="gw-change-row">
        <label class="gw-change-field">
          <span class="gw-label" title="Before the step is taken">at step</span>
          <input class="gw-input" value={change.t} inputMode="numeric" onInput={(event) => set({ t: event.currentTarget.value })} />
        </label>
        <button type="button" class="gw-button" title={`The chosen step, ${state.t.value}`} onClick={() => set({ t: String(state.t.value) })}>
          here
        </button>
      </div>
    </>
  );
}
