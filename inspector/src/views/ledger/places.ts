// Names of steps: the time, or the symbol with its context.

import { useLoaded } from "../../components/useLoaded";
import type { Recording } from "../../data/recording";
import { time } from "../../format";
import type { State } from "../../state";
import { type Context, contextOf, shown } from "../cell/context";

export interface Places {
  times: Float64Array | null;
  symbols: Int32Array | null;
  /** "" for a step without a name. */
  name: (k: number) => string;
  /** For a text. */
  context: ((k: number, around: number) => Context) | null;
}

export function usePlaces(state: State, recording: Recording, row: number): Places | undefined {
  return useLoaded(state, () => load(recording, row), [recording, row]);
}

async function load(recording: Recording, row: number): Promise<Places> {
  const { series, text } = recording.meta;
  if (series?.timed) {
    const times = (await recording.block(row, "times")) as Float64Array;
    return { times, symbols: null, name: (k) => time(times[k], series.step), context: null };
  }
  if (!text) return { times: null, symbols: null, name: () => "", context: null };
  const symbols = (await recording.block(row, "symbols")) as Int32Array;
  return {
    times: null,
    symbols,
    name: (k) => `“${shown(text.symbols, symbols[k])}”`,
    context: (k, around) => contextOf(text.symbols, symbols, k, around, around),
  };
}
