// The choice of the shown recording: by hand, by playing the training, or by following it as it runs.

import { useEffect, useRef } from "preact/hooks";
import type { Entry } from "../../data/types";
import type { State } from "../../state";

/** An entry that was taken at a step of training. */
export type Checkpoint = Entry & { step: number };

/** Milliseconds that each checkpoint is shown for during play, without the time to load it. */
const STAY = 450;

/** Reload the entries whenever there are new ones; while following, show the last checkpoint. */
export function useWatching(state: State, following: boolean): void {
  const follows = useRef(following);
  follows.current = following;
  useEffect(() => {
    let current = true;
    const end = state.source.watch?.(() => {
      state.refresh().then(
        (added) => {
          const last = checkpoints(state.entries.value).at(-1);
          // A "what if" stays in view until the user leaves it.
          const asking = state.recording.value?.meta.origin != null;
          if (current && last && follows.current && !asking && added.some(({ id }) => id === last.id))
            void state.offer(last.id);
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
  }, [state]);
}

/**
 * Play from the shown checkpoint to the last one, or from the first if the last is shown. It stops where the user
 * chooses another recording.
 */
export function usePlaying(
  state: State,
  playing: boolean,
  setPlaying: (playing: boolean) => void,
  points: Checkpoint[],
  place: number,
): void {
  const newest = useRef({ points, place });
  newest.current = { points, place };
  useEffect(() => {
    if (!playing) return;
    let timer = 0;
    let current = true;
    const go = async (shown: Promise<void>, choices: number) => {
      await shown;
      if (!current) return;
      timer = setTimeout(() => {
        const next = newest.current.points[newest.current.place + 1];
        if (!next || state.choices !== choices) setPlaying(false);
        else void go(state.offer(next.id), choices);
      }, STAY);
    };
    const first = points[place + 1] ?? points[0];
    void go(state.show(first.id), state.choices);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [playing]);
}

export function checkpoints(entries: Entry[]): Checkpoint[] {
  return entries.filter((entry): entry is Checkpoint => entry.step !== null).sort((a, b) => a.step - b.step);
}
