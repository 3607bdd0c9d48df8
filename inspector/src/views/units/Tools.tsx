import { plural } from "../../format";
import type { State, View } from "../../state";

export interface Filter {
  /** A label, "chosen" for the chosen units, "" for all. */
  label: string;
  /** As `matching` reads it. */
  text: string;
}

interface Props {
  state: State;
  total: number;
  shown: number;
  chosen: readonly number[];
  labels: [string, number][];
  filter: Filter;
  onFilter: (filter: Filter) => void;
}

const ELSEWHERE: { view: View; name: string }[] = [
  { view: "timeline", name: "Timeline" },
  { view: "cell", name: "Cell" },
  { view: "ledger", name: "Ledger" },
  { view: "whatif", name: "What if" },
];

/** The tool bar of the table: filters, and actions for the chosen units. */
export function UnitTools({ state, total, shown, chosen, labels, filter, onFilter }: Props) {
  const kinds: [string, string, number][] = [
    ["", "all", total],
    ["chosen", "chosen", chosen.length],
    ...labels.map(([label, count]): [string, string, number] => [label, label, count]),
  ];
  return (
    <div class="gw-units-tools">
      <div class="gw-units-kinds" role="group" aria-label="Units to show">
        {kinds.map(([label, name, count]) => (
          <button
            type="button"
            key={label}
            class="gw-units-kind"
            aria-pressed={filter.label === label}
            onClick={() => onFilter({ ...filter, label })}
          >
            {name} <span>{count}</span>
          </button>
        ))}
      </div>
      <input
        class="gw-input gw-units-find"
        type="search"
        placeholder="label, or 3, 7-12"
        aria-label="Find units by label or number"
        value={filter.text}
        onInput={(event) => onFilter({ ...filter, text: event.currentTarget.value })}
      />
      <span class="gw-hidden" aria-live="polite">
        {plural(shown, "unit")} shown
      </span>
      <div class="gw-units-elsewhere" role="group" aria-label="Show the chosen units in another view">
        <span class="gw-label">
          {chosen.length === 1 ? `Unit ${chosen[0]}` : `${plural(chosen.length, "unit")} chosen`}: show in
        </span>
        {ELSEWHERE.filter(({ view }) => view !== "whatif" || state.source.whatIf).map(({ view, name }) => (
          <button type="button" key={view} class="gw-button" onClick={() => state.open(view)}>
            {name}
          </button>
        ))}
      </div>
    </div>
  );
}
