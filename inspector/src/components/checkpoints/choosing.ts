// The choice of the shown recording: by hand, by playing the training, or by following it as it runs.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Entry } from "../../data/types";
import type { State } from "../../state";

/** An entry that was taken at a step of training. */
export type Checkpoint = Entry & { step: number };

/** Milliseconds that each checkpoint is shown for during play, without the time to load it. */
const STAY = 450;

/** Shows the chosen recording. Only the latest choice counts: a response to an earlier one is dropped. */
export class Chooser {
  /** The recording that is being loaded; null when the chosen one is shown. */
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

/** Reload the entries whenever there are new ones; while following, show the last checkpoint. */
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
          // A "what if" stays in view until the user leaves it.
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

/** Play from the shown checkpoint to the last one, or from the first if the last is shown. */
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
