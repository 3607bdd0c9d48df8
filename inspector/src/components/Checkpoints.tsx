// The recordings that there are: checkpoints over training as a track, answers to "what if" as chips.

import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Entry } from "../data/types";
import { short } from "../format";
import type { State } from "../state";
import { Track, type Checkpoint } from "./checkpoints/Track";
import "./Checkpoints.css";

/** How long each checkpoint stays while playing, beside the time it takes to load. */
const STAY = 450;

export function Checkpoints({ state }: { state: State }) {
  const chooser = useMemo(() => new Chooser(state), [state]);
  const [following, setFollowing] = useState(Boolean(state.source.watch));
  const [playing, setPlaying] = useState(false);
  useWatching(state, chooser, following);
  const entries = state.entries.value;
  const points = useMemo(() => checkpoints(entries), [entries]);
  // One checkpoint makes no track: it stands among the others.
  const tracked = points.length > 1;
  const others = tracked ? entries.filter((entry) => entry.step === null) : entries;
  const shown = state.recording.value?.meta;
  const id = chooser.wanted.value ?? shown?.id;
  const place = points.findIndex((point) => point.id === id);
  const origin = points.findIndex((point) => point.id === shown?.origin);
  usePlaying(playing, setPlaying, chooser, points, place);
  if (entries.length < 2) return null;
  const choose = (wanted: string) => {
    setPlaying(false);
    setFollowing(false);
    void chooser.show(wanted);
  };
  return (
    <section class="gw-checkpoints" aria-label="Recordings">
      {tracked && (
        <div class="gw-checkpoints-training">
          <Play playing={playing} onPlay={() => {
            setFollowing(false);
            setPlaying(!playing);
          }} />
          <Label point={points[place] ?? points[origin]} changed={place < 0} />
          <Track points={points} place={place} origin={origin}
            onChoose={(point) => choose(point.id)} />
          {state.source.watch && (
            <label class="gw-checkpoints-follow" title="Show each new checkpoint as soon as it comes">
              <input type="checkbox" checked={following} onChange={(event) => {
                setFollowing(event.currentTarget.checked);
                setPlaying(false);
                if (event.currentTarget.checked && points.length) void chooser.show(points[points.length - 1].id);
              }} />
              Follow
            </label>
          )}
        </div>
      )}
      {others.length > 0 && <Others others={others} id={id} onChoose={choose} />}
    </section>
  );
}

/** Shows one recording after another. Only the newest wish counts, so a quick hand never ends on an older answer. */
class Chooser {
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
function useWatching(state: State, chooser: Chooser, following: boolean): void {
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
function usePlaying(
  playing: boolean, setPlaying: (playing: boolean) => void, chooser: Chooser, points: Checkpoint[], place: number,
): void {
  const newest = useRef({ points, place });
  newest.current = { points, place };
  useEffect(() => {
    if (!playing) return;
    let timer = 0;
    let current = true;
    const advance = async () => {
      const { points, place } = newest.current;
      const next = points[place + 1];
      if (!next) return setPlaying(false);
      await chooser.show(next.id);
      if (current) timer = setTimeout(advance, STAY);
    };
    const { points, place } = newest.current;
    if (place === points.length - 1) void chooser.show(points[0].id).then(() => current && (timer = setTimeout(advance, STAY)));
    else void advance();
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [playing]);
}

function checkpoints(entries: Entry[]): Checkpoint[] {
  return entries.filter((entry): entry is Checkpoint => entry.step !== null).sort((a, b) => a.step - b.step);
}

function Play({ playing, onPlay }: { playing: boolean; onPlay: () => void }) {
  const says = playing ? "Stop" : "Play the checkpoints in the order of training";
  return (
    <button type="button" class="gw-button gw-button-quiet gw-checkpoints-play" aria-label={says} title={says} onClick={onPlay}>
      <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" fill="currentColor">
        {playing ? <path d="M2 1h3v10H2zM7 1h3v10H7z" /> : <path d="M2.5 1v10l8-5z" />}
      </svg>
    </button>
  );
}

/** Of the shown checkpoint, or of the one that the shown "what if" began with. */
function Label({ point, changed }: { point: Checkpoint | undefined; changed: boolean }) {
  return (
    <div class="gw-checkpoints-label">
      <strong data-part="step" data-value={point?.step}>{point ? `Step ${point.step.toLocaleString("en")}` : "–"}</strong>
      {point && changed && <span class="gw-label">what if</span>}
      {point?.score != null && !changed && (
        <span class="gw-label">
          {point.unit} <span class="gw-number" data-part="score" data-value={point.score}>{short(point.score)}</span>
        </span>
      )}
    </div>
  );
}

interface OthersProps {
  others: Entry[];
  id: string | undefined;
  onChoose: (id: string) => void;
}

function Others({ others, id, onChoose }: OthersProps) {
  return (
    <div class="gw-checkpoints-others" role="group" aria-label="Other recordings">
      {others.map((entry) => (
        <button type="button" key={entry.id} aria-pressed={entry.id === id} title={entry.note} onClick={() => onChoose(entry.id)}>
          {entry.note || (entry.step === null ? "original" : `step ${entry.step.toLocaleString("en")}`)}
        </button>
      ))}
    </div>
  );
}
