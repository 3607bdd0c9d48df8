import { useMemo } from "preact/hooks";
import type { Axis } from "../../components/axis";
import { domainOf, Lines } from "../../components/Lines";
import { useLoaded } from "../../components/useLoaded";
import { lineOf, type Track } from "./tracks";

/** A track in a panel of its own, because its unit may differ. */
export function Extra({ axis, track, height = 52 }: { axis: Axis; track: Track; height?: number }) {
  const { state } = axis;
  const recording = state.recording.value;
  const row = state.row.value;
  const load = () => recording?.block(row, track.block) ?? null;
  const table = useLoaded(state, load, [recording, row, track.block]);
  const lines = useMemo(
    () => table && [{ values: lineOf(table, track.column, track.width), color: "--gw-text", width: 1 }],
    [table, track.name],
  );
  return (
    <div class="gw-timeline-extra" style={{ height: `${height}px` }}>
      {lines && (
        <Lines axis={axis} label={track.name} height={height} lines={lines} domain={domainOf(lines[0].values)} />
      )}
      <span class="gw-timeline-extra-name" title={track.name}>
        {track.name}
      </span>
    </div>
  );
}
