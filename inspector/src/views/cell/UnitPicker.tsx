// The units in sight (four at most), and the one in focus.

import { useId } from "preact/hooks";
import type { State } from "../../state";
import { type Blocks, mostActive } from "./scene";

export const MOST_UNITS = 4;

/** In ascending order, so that columns stay in place when the focus moves. */
export function inSight(units: readonly number[], size: number): number[] {
  return units
    .filter((unit) => unit < size)
    .slice(-MOST_UNITS)
    .sort((a, b) => a - b);
}

export function UnitPicker({
  state,
  blocks,
  units,
  t,
}: {
  state: State;
  blocks: Blocks;
  units: readonly number[];
  t: number;
}) {
  const focus = state.unit.value;
  const wrote = blocks.recording.measures.of.write.letter.replace(" ⊙ ", " ");
  const choose = (unit: number) => (state.units.value = [...units.filter((other) => other !== unit), unit]);
  // The most active unit comes last, so that it has the focus.
  const active = (by: "write" | "change") =>
    (state.units.value = mostActive(blocks, t, by, Math.min(MOST_UNITS, blocks.size)).reverse());
  return (
    <div class="gw-unit-picker" role="group" aria-label="Units in sight">
      <span class="gw-label">Units</span>
      {units.map((unit) => (
        <span class="gw-unit-chip" data-focus={unit === focus}>
          <button
            type="button"
            aria-pressed={unit === focus}
            title={`Put unit ${unit} in focus`}
            onClick={() => choose(unit)}
          >
            {unit}
          </button>
          {units.length > 1 && (
            <button
              type="button"
              class="gw-unit-drop"
              aria-label={`Remove unit ${unit}`}
              onClick={() => (state.units.value = state.units.value.filter((other) => other !== unit))}
            >
              ×
            </button>
          )}
        </span>
      ))}
      <Add size={blocks.size} choose={choose} />
      <span class="gw-label gw-most">Most active here</span>
      <div class="gw-segments">
        <button
          type="button"
          title={`The units that write most at this step: largest |${wrote}|`}
          onClick={() => active("write")}
        >
          writes
        </button>
        <button
          type="button"
          title="The units whose cell state changes most at this step"
          onClick={() => active("change")}
        >
          changes
        </button>
      </div>
    </div>
  );
}

function Add({ size, choose }: { size: number; choose: (unit: number) => void }) {
  const id = useId();
  const add = (event: Event) => {
    event.preventDefault();
    const field = (event.currentTarget as HTMLFormElement).elements.namedItem("unit") as HTMLInputElement;
    if (field.value !== "" && field.checkValidity()) choose(Number(field.value));
    field.value = "";
  };
  return (
    <form class="gw-unit-add" onSubmit={add}>
      <label class="gw-hidden" for={id}>
        Add a unit, 0 to {size - 1}
      </label>
      <input
        id={id}
        name="unit"
        class="gw-input"
        type="number"
        min={0}
        max={size - 1}
        step={1}
        placeholder={`+ 0–${size - 1}`}
      />
    </form>
  );
}
