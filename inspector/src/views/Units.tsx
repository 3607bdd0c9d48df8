import { useCallback, useMemo, useRef, useState } from "preact/hooks";
import { useLoading } from "../components/useLoaded";
import { Waiting } from "../components/Waiting";
import type { Diagnosis } from "../data/types";
import { trimmed } from "../format";
import type { State } from "../state";
import { AdviceList } from "./units/Advice";
import { HalfLives } from "./units/HalfLives";
import { MemoryHorizon } from "./units/Horizon";
import { labelCounts, matching, type UnitRow, unitRows } from "./units/rows";
import { UnitTable } from "./units/Table";
import { type Filter, UnitTools } from "./units/Tools";
import "./Units.css";

/** The results of the diagnosis: for the memory as a whole, and for every unit of a layer. */
export function Units({ state }: { state: State }) {
  const recording = state.recording.value;
  const loaded = useLoading(state, async () => (recording ? recording.diagnosis() : null), [recording]);
  if (!loaded.value || loaded.failed)
    return (
      <div class="gw-units">
        <Waiting state={state} what="the diagnosis" loaded={loaded} place="gw-units-waiting" />
      </div>
    );
  return <Shown state={state} diagnosis={loaded.value} outdated={loaded.loading} />;
}

interface ShownProps {
  state: State;
  diagnosis: Diagnosis;
  /** Whether this is the diagnosis of another recording, until that of the shown one is loaded. */
  outdated: boolean;
}

function Shown({ state, diagnosis, outdated }: ShownProps) {
  const [layer, direction] = [state.layer.value, state.direction.value];
  const [filter, setFilter] = useState<Filter>({ label: "", text: "" });
  const found = diagnosis.layers.find((one) => one.layer === layer && one.direction === direction);
  const rows = useMemo(() => (found ? unitRows(found) : []), [found]);
  const ends = (found?.ranges?.candidate ?? [-1, 1]).map(trimmed).join(" … ");
  const chosen = state.units.value.filter((unit) => unit < rows.length);
  // A new choice among the chosen units leaves all of them in the table.
  const kept = useRef<readonly number[]>([]);
  if (filter.label !== "chosen" || !chosen.every((unit) => kept.current.includes(unit))) kept.current = chosen;
  const among = filter.label === "chosen" ? kept.current : null;
  const { rows: shown, wrong } = useMemo(() => filtered(rows, filter, among), [rows, filter, among]);
  const choose = useCallback(
    (unit: number, add: boolean) => {
      state.units.value = add ? [...state.units.value.filter((other) => other !== unit), unit] : [unit];
    },
    [state],
  );
  if (!rows.length) return <p class="gw-units gw-label">The diagnosis says nothing of this layer.</p>;
  return (
    <div class="gw-units" aria-busy={outdated}>
      <AdviceList state={state} diagnosis={diagnosis} />
      <div class="gw-units-charts">
        {!diagnosis.horizon && state.recording.value?.meta.origin && (
          <p class="gw-label">The memory horizon is measured of the model as it is: go back to the original.</p>
        )}
        {diagnosis.horizon && (
          <MemoryHorizon
            horizon={diagnosis.horizon}
            name={state.recording.value?.cell.name ?? "LSTM"}
            peerName={state.recording.value?.meta.peer?.name ?? "plain RNN"}
          />
        )}
        <HalfLives rows={rows} chosen={chosen} onChoose={choose} />
      </div>
      <section class="gw-panel gw-units-panel" aria-label="Units">
        <UnitTools
          state={state}
          total={rows.length}
          shown={shown.length}
          chosen={chosen}
          labels={labelCounts(rows)}
          filter={filter}
          onFilter={setFilter}
        />
        <UnitTable
          cell={state.recording.value!.cell}
          ends={ends}
          rows={shown}
          all={rows}
          chosen={chosen}
          onChoose={choose}
          wrong={wrong}
        />
      </section>
    </div>
  );
}

interface Filtered {
  rows: UnitRow[];
  /** The error in the text, in a sentence; "" without one. */
  wrong: string;
}

function filtered(rows: UnitRow[], { label, text }: Filter, among: readonly number[] | null): Filtered {
  const kept = among
    ? rows.filter((row) => among.includes(row.unit))
    : label
      ? rows.filter((row) => row.labels.includes(label))
      : rows;
  try {
    return { rows: matching(kept, text, rows.length), wrong: "" };
  } catch (error) {
    return { rows: [], wrong: (error as Error).message };
  }
}
