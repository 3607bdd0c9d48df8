import { batch } from "@preact/signals";
import { useState } from "preact/hooks";
import type { Advice, Diagnosis } from "../../data/types";
import { plural } from "../../format";
import type { State } from "../../state";

/** How many findings are shown at first. */
const FIRST = 4;

/** Findings of the diagnosis, with advice; a click chooses the units concerned. */
export function AdviceList({ state, diagnosis }: { state: State; diagnosis: Diagnosis }) {
  const [all, setAll] = useState(false);
  const { advice } = diagnosis;
  if (!advice.length) return <p class="gw-advice-none gw-label">{quiet(diagnosis)}</p>;
  const shown = all ? advice : advice.slice(0, FIRST);
  return (
    <section aria-label="Advice">
      <ol class="gw-advice">
        {shown.map((item, k) => (
          <li key={k}>
            <Finding state={state} item={item} />
          </li>
        ))}
      </ol>
      {advice.length > FIRST && (
        <button type="button" class="gw-button gw-button-quiet" onClick={() => setAll(!all)}>
          {all ? "Show fewer" : `Show all ${advice.length} findings`}
        </button>
      )}
    </section>
  );
}

/** Labels of units that contribute little. */
const FAULTS = ["dead", "shut", "saturated"];

/** The text without advice: no faults, or too few to act on. */
function quiet({ layers }: Diagnosis): string {
  const labels = layers.flatMap((layer) => layer.labels.flat());
  const found = FAULTS.map((fault): [string, number] => [fault, labels.filter((label) => label === fault).length])
    .filter(([, count]) => count > 0)
    .map(([fault, count]) => `${plural(count, "unit")} ${count === 1 ? "is" : "are"} ${fault}`);
  if (!found.length) return "The diagnosis found no fault in these units.";
  return `No advice: ${found.join(", ")}, too few of the model's units to act on.`;
}

function Finding({ state, item }: { state: State; item: Advice }) {
  const words = (
    <>
      <span class="gw-advice-finding">{item.finding}</span>
      <span class="gw-advice-try">{item.advice}</span>
      <span class="gw-advice-where">{place(state, item)}</span>
    </>
  );
  if (!item.units.length) return <div class="gw-advice-card">{words}</div>;
  return (
    <button type="button" class="gw-advice-card" onClick={() => choose(state, item)}>
      {words}
    </button>
  );
}

function place(state: State, { layer, direction, units }: Advice): string {
  const layers = state.recording.value?.meta.layers ?? [];
  const parts: string[] = [];
  if (layers.length > 1) parts.push(`Layer ${layer}`);
  if (layers[layer]?.directions.length > 1) parts.push(direction);
  if (units.length)
    parts.push(`choose ${units.length === 1 ? `unit ${units[0]}` : plural(units.length, "unit")} →`);
  const text = parts.join(", ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function choose(state: State, { layer, direction, units }: Advice): void {
  batch(() => {
    state.layer.value = layer;
    state.direction.value = direction;
    // The last unit has the focus: it should be the first that the finding names.
    state.units.value = [...units].reverse();
  });
}
