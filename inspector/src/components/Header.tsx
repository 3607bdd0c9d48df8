import { batch } from "@preact/signals";
import type { Direction } from "../data/types";
import { VIEW_KEYS } from "../keys";
import type { State, View } from "../state";
import { Choice } from "./Choice";
import { LayerMenu } from "./LayerMenu";

export const VIEW_NAMES: Record<View, string> = {
  timeline: "Timeline",
  cell: "Cell",
  ledger: "Ledger",
  units: "Units",
  whatif: "What if",
};

export function Header({ state }: { state: State }) {
  const meta = state.recording.value?.meta;
  return (
    <header class="gw-header">
      <div class="gw-brand">
        <Mark />
        <strong>Gatewright</strong>
      </div>
      <Tabs state={state} />
      <div class="gw-title" title={meta && `${meta.title}${meta.note ? ` · ${meta.note}` : ""}`}>
        {meta?.title}
        {meta?.note && <span class="gw-note">{meta.note}</span>}
      </div>
      <Place state={state} />
      <div class="gw-tools">
        <Theme state={state} />
        <button
          type="button"
          class="gw-button gw-button-quiet gw-icon"
          aria-label="Help"
          title="Help and keys (?)"
          aria-expanded={state.help.value}
          onClick={() => (state.help.value = !state.help.value)}
        >
          ?
        </button>
      </div>
    </header>
  );
}

/** The logo: the line of the cell state, multiplied and added to. */
function Mark() {
  return (
    <svg class="gw-mark" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
      <path d="M1 7H19" stroke="var(--gw-cell)" stroke-width="2" fill="none" />
      <path d="M6 16V7M14 16V7" stroke="currentColor" stroke-width="1.4" fill="none" />
      <circle cx="6" cy="7" r="3" fill="var(--gw-forget)" />
      <circle cx="14" cy="7" r="3" fill="var(--gw-input)" />
    </svg>
  );
}

function Tabs({ state }: { state: State }) {
  const why = "This page cannot run the model. Open the recording with `gatewright look` to try changes.";
  return (
    <nav class="gw-tabs" aria-label="Views">
      {VIEW_KEYS.map((view, k) => {
        const absent = view === "whatif" && !state.source.whatIf;
        return (
          <button
            key={view}
            type="button"
            aria-current={state.view.value === view ? "page" : undefined}
            // Not `disabled`, which would hide the reason from the keyboard.
            aria-disabled={absent || undefined}
            title={absent ? why : `${VIEW_NAMES[view]} (${k + 1})`}
            onClick={() => {
              if (!absent) state.open(view);
            }}
          >
            {VIEW_NAMES[view]}
          </button>
        );
      })}
    </nav>
  );
}

/** Menus for row, layer and direction, where there is more than one. */
function Place({ state }: { state: State }) {
  const meta = state.recording.value?.meta;
  if (!meta) return null;
  const { directions } = meta.layers[state.layer.value];
  return (
    <div class="gw-place">
      {meta.rows.length > 1 && (
        <Choice
          name="Row"
          options={meta.rows.map(({ name }, k) => name || `Row ${k}`)}
          chosen={state.row.value}
          choose={(row) => pickRow(state, row)}
        />
      )}
      <LayerMenu state={state} />
      {directions.length > 1 && (
        <Choice
          name="Direction"
          options={directions}
          chosen={directions.indexOf(state.direction.value)}
          choose={(k) => (state.direction.value = directions[k] as Direction)}
        />
      )}
    </div>
  );
}

function pickRow(state: State, row: number): void {
  batch(() => {
    state.row.value = row;
    const T = state.steps.value;
    state.t.value = Math.min(state.t.value, T - 1);
    state.range.value = [0, T];
  });
}

const NEXT_THEME = { auto: "light", light: "dark", dark: "auto" } as const;
const THEME_NAME = { auto: "system", light: "light", dark: "dark" } as const;

function Theme({ state }: { state: State }) {
  const theme = state.theme.value;
  const says = `Theme: ${THEME_NAME[theme]}. Press for ${THEME_NAME[NEXT_THEME[theme]]}.`;
  return (
    <button
      type="button"
      class="gw-button gw-button-quiet gw-icon"
      aria-label={says}
      title={says}
      onClick={() => (state.theme.value = NEXT_THEME[theme])}
    >
      <svg
        viewBox="0 0 16 16"
        width="16"
        height="16"
        aria-hidden="true"
        fill="none"
        stroke="currentColor"
        stroke-width="1.4"
        stroke-linecap="round"
      >
        {theme === "light" && (
          <>
            <circle cx="8" cy="8" r="2.8" />
            <path d="M8 1.2v1.6M8 13.2v1.6M1.2 8h1.6M13.2 8h1.6" />
            <path d="M3.2 3.2l1.1 1.1M11.7 11.7l1.1 1.1M12.8 3.2l-1.1 1.1M4.3 11.7l-1.1 1.1" />
          </>
        )}
        {theme === "dark" && (
          <path d="M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8Z" stroke-linejoin="round" />
        )}
        {theme === "auto" && (
          <>
            <circle cx="8" cy="8" r="5.6" />
            <path d="M8 2.4a5.6 5.6 0 0 1 0 11.2Z" fill="currentColor" />
          </>
        )}
      </svg>
    </button>
  );
}
