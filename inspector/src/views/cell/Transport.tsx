// Step back, play, step on.

import type { State } from "../../state";
import type { Player } from "./play";

const SPEEDS = [1, 2, 4, 10, 30];

export function Transport({ state, player }: { state: State; player: Player }) {
  const { playing, speed, toggle } = player;
  const t = state.t.value;
  const last = state.steps.value - 1;
  return (
    <div class="gw-transport" role="group" aria-label="Steps">
      <Button
        name="Step back (left arrow)"
        disabled={t === 0}
        press={() => state.goTo(t - 1)}
        d="M10 3L5 8L10 13M3.5 3V13"
      />
      <button
        type="button"
        class="gw-button gw-play"
        aria-label={playing.value ? "Pause (space)" : "Play (space)"}
        title={playing.value ? "Pause (space)" : "Play (space)"}
        data-playing={playing.value}
        onClick={toggle}
      >
        <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" fill="currentColor">
          {playing.value ? <path d="M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z" /> : <path d="M4 2.2L13.5 8L4 13.8Z" />}
        </svg>
        {playing.value ? "Pause" : "Play"}
      </button>
      <Button
        name="Step on (right arrow)"
        disabled={t === last}
        press={() => state.goTo(t + 1)}
        d="M6 3L11 8L6 13M12.5 3V13"
      />
      <select
        class="gw-select"
        aria-label="Speed"
        title="Speed"
        value={speed.value}
        onChange={(event) => {
          speed.value = Number(event.currentTarget.value);
          event.currentTarget.blur(); // so that the space bar plays and does not open the list again
        }}
      >
        {SPEEDS.map((steps) => (
          <option value={steps}>{steps === 1 ? "1 step/s" : `${steps} steps/s`}</option>
        ))}
      </select>
      <span class="gw-step-count" data-value={t}>
        step <b>{t.toLocaleString("en")}</b> <span class="gw-label">of 0 – {last.toLocaleString("en")}</span>
      </span>
    </div>
  );
}

function Button({ name, disabled, press, d }: { name: string; disabled: boolean; press: () => void; d: string }) {
  return (
    <button
      type="button"
      class="gw-button gw-icon"
      aria-label={name}
      title={name}
      disabled={disabled}
      onClick={press}
    >
      <svg
        viewBox="0 0 16 16"
        width="14"
        height="14"
        aria-hidden="true"
        fill="none"
        stroke="currentColor"
        stroke-width="1.6"
      >
        <path d={d} />
      </svg>
    </button>
  );
}
