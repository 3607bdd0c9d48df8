import type { Cell } from "../../data/anatomy";
import type { State } from "../../state";
import { unitsText } from "../../units";
import type { Change, Clamp, Edit } from "./draft";

interface Props<C extends Change> {
  state: State;
  change: C;
  onChange: (change: C) => void;
}

/** The fields of one change. */
export function ChangeFields({ state, change, onChange }: Props<Change>) {
  const units = <Units state={state} units={change.units} onUnits={(units) => onChange({ ...change, units })} />;
  if (change.kind === "ablate")
    return (
      <>
        {units}
        <p class="gw-label">Their hidden state is 0 at every step.</p>
      </>
    );
  if (change.kind === "edit")
    return (
      <>
        {units}
        <EditFields state={state} change={change} onChange={onChange} />
      </>
    );
  return (
    <>
      {units}
      <ClampFields state={state} change={change} onChange={onChange} />
    </>
  );
}

interface InputProps {
  label: string;
  value: string;
  onValue: (value: string) => void;
  /** The accessible name, where the label is too short. */
  name?: string;
  placeholder?: string;
  short?: boolean;
}

function Input({ label, value, onValue, name, placeholder, short = false }: InputProps) {
  return (
    <label class={`gw-change-field${short ? " gw-change-to" : ""}`}>
      <span class="gw-label">{label}</span>
      <input
        class="gw-input"
        value={value}
        placeholder={placeholder}
        aria-label={name}
        spellcheck={false}
        onInput={(event) => onValue(event.currentTarget.value)}
      />
    </label>
  );
}

function Shortcut({ name, says, onClick }: { name: string; says: string; onClick: () => void }) {
  return (
    <button type="button" class="gw-button" title={says} onClick={onClick}>
      {name}
    </button>
  );
}

function Units({ state, units, onUnits }: { state: State; units: string; onUnits: (units: string) => void }) {
  return (
    <div class="gw-change-row">
      <Input label="units" value={units} placeholder="3, 7, 10-14" onValue={onUnits} />
      <Shortcut name="chosen" says="The chosen units" onClick={() => onUnits(unitsText(state.units.value))} />
      <Shortcut name="all" says="All units of the layer" onClick={() => onUnits("all")} />
    </div>
  );
}

function ClampFields({ state, change, onChange }: Props<Clamp>) {
  const set = (part: Partial<Clamp>) => onChange({ ...change, ...part });
  const here = () => set({ first: String(state.t.value), last: "" });
  const { cell } = state.recording.value!;
  return (
    <>
      <div class="gw-change-row">
        <label class="gw-change-field">
          <span class="gw-label">gate</span>
          <select
            class="gw-select"
            value={change.gate}
            style={{ borderLeftColor: cell.parts[change.gate].color }}
            onChange={(event) => set({ gate: event.currentTarget.value as Clamp["gate"] })}
          >
            {cell.holdable.map((gate) => (
              <option key={gate} value={gate}>
                {cell.parts[gate].name}
              </option>
            ))}
          </select>
        </label>
      </div>
      <HeldAt cell={cell} change={change} onValue={(value) => set({ value })} />
      <div class="gw-change-row">
        <Input
          label="steps"
          name="First step"
          value={change.first}
          placeholder="first"
          onValue={(first) => set({ first })}
        />
        <Input
          label="to"
          name="Last step"
          value={change.last}
          placeholder="last"
          short
          onValue={(last) => set({ last })}
        />
        <Shortcut name="here" says={`From the chosen step, ${state.t.value}, on`} onClick={here} />
      </div>
    </>
  );
}

/** Ends of the slider of a gate without limits; its field takes any number. */
const FAR = 3;

function HeldAt({
  cell,
  change: { gate, value },
  onValue,
}: {
  cell: Cell;
  change: Clamp;
  onValue: (value: string) => void;
}) {
  const [low, high] = cell.limits(gate).map((end) => Math.max(-FAR, Math.min(FAR, end)));
  return (
    <div class="gw-change-row">
      <label class="gw-change-field">
        <span class="gw-label">held at</span>
        <input
          class="gw-slider"
          type="range"
          min={low}
          max={high}
          step={0.01}
          value={Number(value) || 0}
          aria-label="Value of the gate"
          style={{ accentColor: cell.parts[gate].color }}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      </label>
      <input
        class="gw-input gw-change-number"
        value={value}
        aria-label="Value of the gate, as a number"
        onInput={(event) => onValue(event.currentTarget.value)}
      />
    </div>
  );
}

function EditFields({ state, change, onChange }: Props<Edit>) {
  const set = (part: Partial<Edit>) => onChange({ ...change, ...part });
  return (
    <>
      <div class="gw-change-row">
        <Input label="set to" value={change.value} onValue={(value) => set({ value })} />
      </div>
      <div class="gw-change-row">
        <Input label="at step" name="Before step" value={change.t} onValue={(t) => set({ t })} />
        <Shortcut
          name="here"
          says={`The chosen step, ${state.t.value}`}
          onClick={() => set({ t: String(state.t.value) })}
        />
      </div>
    </>
  );
}
