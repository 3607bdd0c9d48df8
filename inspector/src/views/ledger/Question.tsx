// The choice of what is split: the cell state of a unit, or an output of the head.

import { useId } from "preact/hooks";
import type { Meta } from "../../data/types";
import type { State } from "../../state";
import { shown } from "../cell/context";
import { median } from "../timeline/forecast";

export function Question({
  state,
  meta,
  splits,
  size,
  output,
}: {
  state: State;
  meta: Meta;
  /** Whether outputs can be split here. */
  splits: boolean;
  size: number;
  /** The output that is split. */
  output: number | null;
}) {
  const asked = splits ? state.readout.value : null;
  const why = splits
    ? ""
    : "Outputs can be split only at the last layer of a model with a head, forward and without a projection.";
  return (
    <>
      <div class="gw-segments" role="group" aria-label="What is split">
        <button type="button" aria-pressed={asked === null} onClick={() => (state.readout.value = null)}>
          Cell state of a unit
        </button>
        <button
          type="button"
          aria-pressed={asked !== null}
          disabled={!splits}
          title={why}
          onClick={() => (state.readout.value = meta.text ? "came" : meta.series ? median(meta.series) : 0)}
        >
          Output of the head
        </button>
      </div>
      {asked === null ? (
        <UnitField state={state} size={size} />
      ) : meta.text ? (
        <SymbolField state={state} meta={meta} asked={asked} output={output} />
      ) : (
        <select
          class="gw-select"
          aria-label="Output"
          value={output ?? 0}
          onChange={(event) => (state.readout.value = Number(event.currentTarget.value))}
        >
          {meta.readouts.map((name, k) => (
            <option value={k}>{name}</option>
          ))}
        </select>
      )}
    </>
  );
}

function UnitField({ state, size }: { state: State; size: number }) {
  const id = useId();
  const choose = (event: Event) => {
    const field = event.currentTarget as HTMLInputElement;
    if (field.value === "" || !field.checkValidity()) return;
    const unit = Number(field.value);
    state.units.value = [...state.units.value.filter((other) => other !== unit), unit];
  };
  return (
    <span class="gw-field">
      <label class="gw-label" for={id}>
        unit
      </label>
      <input
        id={id}
        class="gw-input gw-ledger-unit"
        type="number"
        min={0}
        max={size - 1}
        step={1}
        value={state.unit.value}
        onChange={choose}
      />
    </span>
  );
}

function SymbolField({
  state,
  meta,
  asked,
  output,
}: {
  state: State;
  meta: Meta;
  asked: number | "came" | "likely";
  output: number | null;
}) {
  const id = useId();
  const { symbols } = meta.text!;
  const name = (symbol: number) => shown(symbols, symbol);
  const choose = (event: Event) => {
    const field = event.currentTarget as HTMLInputElement;
    const found = symbols.findIndex((symbol, k) => k > 0 && (symbol === field.value || name(k) === field.value));
    if (found > 0) state.readout.value = found;
    field.value = "";
  };
  return (
    <>
      <span class="gw-readout" data-output={output ?? ""}>
        {output === null ? "…" : name(output)}
      </span>
      <div class="gw-segments" role="group" aria-label="Which symbol">
        <button type="button" aria-pressed={asked === "came"} onClick={() => (state.readout.value = "came")}>
          what came next
        </button>
        <button type="button" aria-pressed={asked === "likely"} onClick={() => (state.readout.value = "likely")}>
          the likeliest
        </button>
      </div>
      <label class="gw-hidden" for={id}>
        Another symbol
      </label>
      <input
        id={id}
        class="gw-input gw-ledger-symbol"
        list={`${id}-symbols`}
        placeholder="another"
        onChange={choose}
      />
      <datalist id={`${id}-symbols`}>{symbols.map((_, k) => k > 0 && <option value={name(k)} />)}</datalist>
    </>
  );
}
