import type { Axis } from "../../components/axis";
import { Extra } from "./Extra";
import { TracksMenu } from "./TracksMenu";
import { tracksOf } from "./tracks";

/** Tracks that are shown at first: the classes of a classifier, or inputs. */
const FIRST = 2;
const FIRST_CLASSES = 4;

/** Inputs and outputs of a stack of layers, or of a classifier. */
export function LayersPanel({ axis }: { axis: Axis }) {
  const { state } = axis;
  const recording = state.recording.value!;
  const tracks = tracksOf(recording);
  const { inputs, outputs } = recording.meta;
  const first = outputs.length ? outputs.slice(0, FIRST_CLASSES) : inputs.slice(0, FIRST);
  const chosen = state.tracks.value ?? first;
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
