// Controls: the step of the ledger, the way back from a visited step, and the zoom.

import type { Signal } from "@preact/signals";
import type { State } from "../../state";

export function Tools({
  state,
  query,
  trail,
  ghosts,
  matters,
}: {
  state: State;
  query: number;
  /** Steps that were left by a click on another step. */
  trail: Signal<number[]>;
  /** Whether to show the original writes; null where there are none. */
  ghosts: Signal<boolean> | null;
  matters: () => void;
}) {
  const held = state.held.value !== null;
  const back = trail.value.at(-1);
  const goBack = () => {
    trail.value = trail.value.slice(0, -1);
    state.goTo(back!);
  };
  return (
    <>
      <span class="gw-ledger-at" data-query={query}>
        <span class="gw-label">at step</span> <b>{query.toLocaleString("en")}</b>
      </span>
      <button
        type="button"
        class="gw-button"
        aria-pressed={held}
        data-held={held}
        title={
          held ? "Let the ledger follow the chosen step again" : "Keep this ledger while you look at other steps"
        }
        onClick={() => (state.held.value = held ? null : query)}
      >
        {held ? "Held" : "Hold"}
      </button>
      {back !== undefined && (
        <button type="button" class="gw-button" onClick={goBack}>
          ← Back to step {back.toLocaleString("en")}
        </button>
      )}
      <span class="gw-ledger-sight">
        {ghosts && (
          <label class="gw-field">
            <input
              type="checkbox"
              checked={ghosts.value}
              onChange={(event) => (ghosts.value = event.currentTarget.checked)}
            />
            <span class="gw-label">what was written</span>
          </label>
        )}
        <button type="button" class="gw-button" title="Zoom to the steps that make up 99% of it" onClick={matters}>
          What matters
        </button>
        <button
          type="button"
          class="gw-button"
          title="Show all steps (double click)"
          onClick={() => state.zoom(0, state.steps.value)}
        >
          All steps
        </button>
      </span>
    </>
  );
}
