import { useMemo } from "preact/hooks";
import { useLoaded } from "../../components/useLoaded";
import { visible } from "../../format";
import type { State } from "../../state";
import { blindGuess, tint } from "./surprise";

/** Characters that are shown, and the stride of the window, so that the chosen one stays near the middle. */
const SHOWN = 560;
const STRIDE = 120;

/** The text around the chosen step, each character tinted by its surprise. */
export function RunningText({ state }: { state: State }) {
  const recording = state.recording.value!;
  const row = state.row.value;
  const text = recording.meta.text!;
  const loaded = useLoaded(state, async () => {
    const [symbols, error] = await Promise.all([recording.block(row, "symbols"), recording.block(row, "error")]);
    return { symbols, error };
  }, [recording, row]);
  const t = state.t.value;
  const T = state.steps.value;
  const start = Math.max(0, Math.min(T - SHOWN, Math.floor(t / STRIDE - 1) * STRIDE));
  const characters = useMemo(() => {
    if (!loaded) return [];
    const most = blindGuess(text);
    return Array.from({ length: Math.min(SHOWN, T - start) }, (_, k) => ({
      step: start + k,
      symbol: text.symbols[loaded.symbols[start + k]],
      background: tint(loaded.error[start + k], most),
    }));
  }, [loaded, start]);
  const choose = (event: MouseEvent) => {
    const { step } = (event.target as HTMLElement).dataset;
    if (step) state.goTo(Number(step));
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the arrow keys go from step to step everywhere on the page
    <p class="gw-timeline-running" role="group" onClick={choose} aria-label="The text around the chosen step">
      {characters.map(({ step, symbol, background }) => (
        <span key={step} data-step={step} data-chosen={step === t || undefined} style={{ background }}>
          {symbol === "\n" ? `${visible(symbol)}\n` : symbol}
        </span>
      ))}
    </p>
  );
}
