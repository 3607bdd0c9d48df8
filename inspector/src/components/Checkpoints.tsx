// The available recordings: checkpoints of a training as a track, results of "what if" as chips.

import { useMemo, useState } from "preact/hooks";
import type { Entry } from "../data/types";
import { short } from "../format";
import type { State } from "../state";
import { type Checkpoint, checkpoints, usePlaying, useWatching } from "./checkpoints/choosing";
import { Track } from "./checkpoints/Track";
import "./Checkpoints.css";

export function Checkpoints({ state }: { state: State }) {
  const [following, setFollowing] = useState(Boolean(state.source.watch));
  useWatching(state, following);
  // Layers of a module are chosen in the header.
  const all = state.entries.value;
  const entries = useMemo(() => all.filter(({ name }) => !name), [all]);
  const points = useMemo(() => checkpoints(entries), [entries]);
  const id = state.wanted.value ?? state.recording.value?.meta.id;
  // A single entry can be chosen where the shown recording is no longer among the entries.
  if (entries.length < 2 && (!id || all.some((entry) => entry.id === id))) return null;
  // A single checkpoint needs no track: it is listed with the others.
  const tracked = points.length > 1;
  const others = tracked ? entries.filter((entry) => entry.step === null) : entries;
  const choose = (id: string) => {
    setFollowing(false);
    void state.show(id);
  };
  return (
    <section class="gw-checkpoints" aria-label="Recordings">
      {tracked && <Training state={state} points={points} following={following} onFollow={setFollowing} />}
      {others.length > 0 && <Others others={others} id={id} onChoose={choose} />}
    </section>
  );
}

interface TrainingProps {
  state: State;
  points: Checkpoint[];
  following: boolean;
  onFollow: (following: boolean) => void;
}

function Training({ state, points, following, onFollow }: TrainingProps) {
  const [playing, setPlaying] = useState(false);
  const shown = state.recording.value?.meta;
  const id = state.wanted.value ?? shown?.id;
  const place = points.findIndex((point) => point.id === id);
  const origin = points.findIndex((point) => point.id === shown?.origin);
  usePlaying(state, playing, setPlaying, points, place);
  const play = () => {
    onFollow(false);
    setPlaying(!playing);
  };
  const follow = (following: boolean) => {
    onFollow(following);
    setPlaying(false);
    if (following) void state.show(points[points.length - 1].id);
  };
  const choose = (point: Checkpoint) => {
    onFollow(false);
    setPlaying(false);
    void state.show(point.id);
  };
  return (
    <div class="gw-checkpoints-training">
      <Play playing={playing} onPlay={play} />
      <Label point={points[place] ?? points[origin]} changed={place < 0} />
      <Track points={points} place={place} origin={origin} onChoose={choose} />
      {state.source.watch && (
        <label class="gw-checkpoints-follow" title="Show each new checkpoint as soon as it is available">
          <input type="checkbox" checked={following} onChange={(event) => follow(event.currentTarget.checked)} />
          Follow
        </label>
      )}
    </div>
  );
}

function Play({ playing, onPlay }: { playing: boolean; onPlay: () => void }) {
  const says = playing ? "Stop" : "Play the checkpoints in the order of training";
  return (
    <button
      type="button"
      class="gw-button gw-button-quiet gw-checkpoints-play"
      aria-label={says}
      title={says}
      onClick={onPlay}
    >
      <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" fill="currentColor">
        {playing ? <path d="M2 1h3v10H2zM7 1h3v10H7z" /> : <path d="M2.5 1v10l8-5z" />}
      </svg>
    </button>
  );
}

/** Step and score of the shown checkpoint, or of the checkpoint that the shown "what if" is based on. */
function Label({ point, changed }: { point: Checkpoint | undefined; changed: boolean }) {
  return (
    <div class="gw-checkpoints-label">
      <strong data-part="step" data-value={point?.step}>
        {point ? `Step ${point.step.toLocaleString("en")}` : "–"}
      </strong>
      {point && changed && <span class="gw-label">what if</span>}
      {point?.score != null && !changed && (
        <span class="gw-label">
          {point.unit}{" "}
          <span class="gw-number" data-part="score" data-value={point.score}>
            {short(point.score)}
          </span>
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
        <button
          type="button"
          key={entry.id}
          aria-pressed={entry.id === id}
          title={entry.note}
          onClick={() => onChoose(entry.id)}
        >
          {entry.note || (entry.step === null ? "original" : `step ${entry.step.toLocaleString("en")}`)}
        </button>
      ))}
    </div>
  );
}
