// The data, and below them all units of a layer over the same steps.

import { useMemo } from "preact/hooks";
import { Axis } from "../components/axis";
import { Overview } from "../components/Overview";
import { Stage } from "../components/Stage";
import { TimeAxis } from "../components/TimeAxis";
import { useLoaded } from "../components/useLoaded";
import type { Recording } from "../data/recording";
import type { State } from "../state";
import { HeatPanel } from "./timeline/HeatPanel";
import { LayersPanel } from "./timeline/LayersPanel";
import { PeerPanel } from "./timeline/PeerPanel";
import { Readout } from "./timeline/Readout";
import { SeriesPanel } from "./timeline/SeriesPanel";
import { TextPanel } from "./timeline/TextPanel";
import { Tip } from "./timeline/Tip";
import "./Timeline.css";

export function Timeline({ state }: { state: State }) {
  const axis = useMemo(() => new Axis(state), [state]);
  const recording = state.recording.value!;
  const row = state.row.value;
  const { kind, series } = recording.meta;
  const whole = useLoaded(state, () => overview(recording, row), [recording, row]);
  const times = useLoaded(
    state,
    async () => (series?.timed ? ((await recording.block(row, "times")) as Float64Array) : null),
    [recording, row],
  );
  return (
    <div class="gw-timeline">
      <Stage axis={axis}>
        <Overview axis={axis} values={whole ?? null} />
        {kind === "series" && <SeriesPanel axis={axis} />}
        {kind === "text" && <TextPanel axis={axis} />}
        {kind === "layers" && <LayersPanel axis={axis} />}
        <HeatPanel axis={axis} />
        {recording.has(row, "peer/hidden") && <PeerPanel axis={axis} />}
        <TimeAxis axis={axis} times={times ?? null} />
        <Tip axis={axis} />
      </Stage>
      <Readout state={state} />
    </div>
  );
}

/** The line of the overview strip: the first target, the error, or the first input. */
async function overview(recording: Recording, row: number): Promise<ArrayLike<number>> {
  const { kind, series, inputs } = recording.meta;
  if (kind === "text") return recording.block(row, "error");
  const width = series ? series.columns.length : inputs.length;
  const table = await recording.block(row, series ? "columns" : "inputs");
  return Float32Array.from({ length: table.length / width }, (_, t) => table[t * width]);
}
