import { GATES } from "../data/cell";
import type { Quantity } from "../data/quantities";
import type { Recording } from "../data/recording";
import type { Direction } from "../data/types";
import { fixed, time, visible } from "../format";
import type { State } from "../state";
import { useLoaded } from "./useLoaded";

const PARTS = [...GATES, "cell", "hidden"] as const;

/** The status line: the chosen step, and the numbers of the unit in focus. */
export function Status({ state }: { state: State }) {
  const recording = state.recording.value;
  const unit = state.unit.value;
  const t = state.t.value;
  const parts = useParts(state);
  const place = usePlace(state);
  return (
    <footer class="gw-status" role="group" aria-label="Chosen step and unit">
      <span data-status="step" data-value={t}>
        <span class="gw-label">step</span> {t.toLocaleString("en")}
        <span class="gw-label"> of 0 – {(state.steps.value - 1).toLocaleString("en")}</span>
      </span>
      {place && <span data-status="place">{place}</span>}
      <span data-status="unit" data-value={unit}>
        <span class="gw-label">unit</span> {unit}
      </span>
      {recording && (
        <span class="gw-status-parts">
          {PARTS.filter((part) => recording.cell.has(part)).map((part) => {
            const value = parts?.(part, t, unit);
            const { name, letter, color } = recording.measures.of[part];
            return (
              <span key={part} title={name}>
                <i class="gw-dot" style={{ background: color }} />
                <span class="gw-label">{letter}</span>
                <span class="gw-number" data-part={part} data-unit={unit} data-value={value}>
                  {value === undefined ? "–" : fixed(value)}
                </span>
              </span>
            );
          })}
        </span>
      )}
    </footer>
  );
}

type Reader = (part: (typeof PARTS)[number], t: number, unit: number) => number | undefined;

/** The size up to which blocks are read immediately; larger ones are read while the page is idle. */
const SMALL = 1e6;
/** Milliseconds of delay for a large recording, so that the blocks of the view are read first. */
const FIRST = 1500;

/** All these parts of every unit at every step. */
function useParts(state: State): Reader | undefined {
  const recording = state.recording.value;
  const [row, layer, direction] = [state.row.value, state.layer.value, state.direction.value];
  return useLoaded(state, () => recording && reader(recording, row, layer, direction), [
    recording,
    row,
    layer,
    direction,
  ]);
}

async function reader(recording: Recording, row: number, layer: number, direction: Direction): Promise<Reader> {
  const arrays = new Map<Quantity, Float32Array>();
  const large = recording.meta.rows[row].steps * recording.meta.layers[layer].hidden > SMALL;
  if (large) await new Promise((resume) => setTimeout(resume, FIRST));
  for (const part of PARTS) {
    if (large) await idle();
    arrays.set(part, await recording.quantity(row, layer, direction, part));
  }
  return (part, t, unit) => {
    // A projected hidden state is narrower than the layer.
    const width = recording.width(layer, part);
    return unit < width ? arrays.get(part)?.[t * width + unit] : undefined;
  };
}

function idle(): Promise<void> {
  return new Promise((resume) => {
    // Safari has no requestIdleCallback.
    if ("requestIdleCallback" in window) requestIdleCallback(() => resume(), { timeout: 4000 });
    else setTimeout(resume, 500);
  });
}

function usePlace(state: State): string {
  const recording = state.recording.value;
  const { series, text } = recording?.meta ?? {};
  const name = series?.timed ? "times" : text ? "symbols" : null;
  const row = state.row.value;
  const load = () => (recording && name ? recording.block(row, name) : null);
  const values = useLoaded(state, load, [recording, row, name]);
  const value = values?.[state.t.value];
  if (value === undefined) return "";
  if (series?.timed) return time(value, series.step);
  return text ? `“${visible(text.symbols[value] ?? "�")}”` : "";
}
