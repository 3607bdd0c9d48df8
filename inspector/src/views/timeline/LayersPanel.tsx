import type { Axis } from "../../components/axis";
import { Extra } from "./Extra";
import { TracksMenu } from "./TracksMenu";
import { tracksOf } from "./tracks";

/** Tracks that are shown at first. */
const FIRST = 2;

/** Inputs and outputs of a stack of layers. */
export function LayersPanel({ axis }: { axis: Axis }) {
  const { state } = axis;
  const recording = state.recording.value!;
  const tracks = tracksOf(recording);
  const chosen = state.tracks.value ?? recording.meta.inputs.slice(0, FIRST);
  return (
    <>
      <div class="gw-timeline-bar" data-still>
        <h2>Inputs and outputs</h2>
        <TracksMenu tracks={tracks} chosen={chosen} choose={(names) => (state.tracks.value = names)} />
      </div>
      {tracks
        .filter(({ name }) => chosen.includes(name))
        .map((track) => (
          <Extra key={track.name} axis={axis} track={track} height={64} />
        ))}
    </>
  );
}
