import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { palette } from "../../colors";
import type { Axis } from "../../components/axis";
import { Heatmap } from "../../components/Heatmap";
import type { RowRange } from "../../components/heat/range";
import { Legend } from "../../components/Legend";
import { useLoading } from "../../components/useLoaded";
import { Cover, Waiting } from "../../components/Waiting";
import { painted } from "./useMap";

/** The hidden state of the plain RNN, its only memory. */
export function PeerPanel({ axis }: { axis: Axis }) {
  const { state } = axis;
  const recording = state.recording.value!;
  const row = state.row.value;
  const peer = recording.meta.peer!;
  const loaded = useLoading(state, () => recording.block(row, "peer/hidden") as Promise<Float32Array>, [
    recording,
    row,
  ]);
  const values = loaded.value;
  const what = `the map of the ${peer.name}`;
  const colors = useMemo(() => palette(true, state.dark.value), [state.dark.value]);
  const order = useMemo(() => [...Array(peer.hidden).keys()], [peer.hidden]);
  const rows = useSignal<RowRange>([0, peer.hidden]);
  const none = useSignal<number[]>([]);
  useEffect(() => {
    rows.value = [0, peer.hidden];
  }, [peer.hidden]);
  return (
    <>
      <div class="gw-timeline-bar" data-still>
        <h2>{peer.name}: hidden state</h2>
        <span class="gw-label">its only memory</span>
        <span class="gw-timeline-scale">
          <Legend colors={colors} low="−1" high="1" />
        </span>
      </div>
      <div class="gw-timeline-peer">
        {values ? (
          <Heatmap
            axis={axis}
            part="hidden state"
            label={`hidden state of the ${peer.name}, ${peer.hidden} units over ${state.steps.value} steps`}
            map={painted(values, peer.hidden, "signed", false).map}
            colors={colors}
            order={order}
            rows={rows}
            chosen={none}
            choose={null}
            value={(unit, step) => values[step * peer.hidden + unit]}
          >
            <Cover state={state} what={what} loaded={loaded} />
          </Heatmap>
        ) : (
          <div class="gw-heat">
            <Waiting state={state} what={what} loaded={loaded} place="gw-heat-map" />
          </div>
        )}
      </div>
    </>
  );
}
