// Which recording is shown: chosen by hand, played in the order of training, or followed while it trains.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Entry } from "../../data/types";
import type { State } from "../../state";

/** An entry that was taken at a step of training. */
export type Checkpoint = Entry & { step: number };

/** Milliseconds that each checkpoint stays while playing, beside the time it takes to load. */
const STAY = 450;

/** Shows one recording after another. Only the newest wish counts: a quick hand never ends on an older answer. */
export class Chooser {
  /** What is on its way; null when what is shown is what was asked for. */
  readonly wanted = signal<string | null>(null);
  private busy = false;

  constructor(private readonly state: State) {}

  async show(id: string): Promise<void> {
    this.wanted.value = id;
    if (this.busy) return;
    this.busy = true;
    while (this.wanted.value !== null) {
      const next: string = this.wanted.value;
      await this.state.show(next);
      if (this.wanted.value === next) this.wanted.value = null;
    }
    this.busy = false;
  }
}

/** Ask for the entries again whenever there are new ones; show the last checkpoint while following. */
export function useWatching(state: State, chooser: Chooser, following: boolean): void {
  const follows = useRef(following);
  follows.current = following;
  useEffect(() => {
    let current = true;
    const end = state.source.watch?.(() => {
      state.source.entries().then(
        (entries) => {
          if (!current) return;
          const known = new Set(state.entries.value.map((entry) => entry.id));
          state.entries.value = entries;
          const last = checkpoints(entries).at(-1);
          // A person who looks into a "what if" is not taken away from it.
          const asking = state.recording.value?.meta.origin != null;
          if (last && follows.current && !asking && !known.has(last.id)) void chooser.show(last.id);
        },
        (error: unknown) => {
          if (current) state.trouble.value = error instanceof Error ? error.message : String(error);
        },
      );
    });
    return () => {
      current = false;
      end?.();
    };
  }, [state, chooser]);
}

/** From the shown checkpoint to the last one, or from the first when it is the last. */
export function usePlaying(
  playing: boolean,
  setPlaying: (playing: boolean) => void,
  chooser: Chooser,
  points: Checkpoint[],
  place: number,
): void {
  const newest = useRef({ points, place });
  newest.current = { points, place };
  useEffect(() => {
    if (!playing) return;
    let timer = 0;
    let current = true;
    const show = async (next: Checkpoint | undefined) => {
      if (!next) return setPlaying(false);
      await chooser.show(next.id);
      if (current) timer = setTimeout(() => void show(newest.current.points[newest.current.place + 1]), STAY);
    };
    void show(points[place + 1] ?? points[0]);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [playing]);
}

export function checkpoints(entries: Entry[]): Checkpoint[] {
  return entries.filter((entry): entry is Checkpoint => entry.step !== null).sort((a, b) => a.step - b.step);
}
