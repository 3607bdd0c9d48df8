import { PART_NAME } from "../../colors";
import type { Axis } from "../../components/axis";
import { useLoaded } from "../../components/useLoaded";
import { fixed, time, visible } from "../../format";

/** CSS pixels between the pointer and its note. */
const AWAY = 14;

/** The numbers under the pointer. */
export function Tip({ axis }: { axis: Axis }) {
  const { state, width } = axis;
  const names = useStepNames(axis);
  const hover = axis.hover.value;
  if (!hover) return null;
  const unit = axis.hoverUnit.value;
  const name = names?.(hover.step);
  const leftwards = hover.x > width.value * 0.7;
  const part = PART_NAME[unit?.map === "peer" ? "hidden" : state.quantity.value];
  return (
    <div
      class="gw-timeline-tip"
      aria-hidden="true"
      style={{
        left: `${hover.x + (leftwards ? -AWAY : AWAY)}px`,
        top: `${hover.y + AWAY}px`,
        transform: leftwards ? "translateX(-100%)" : undefined,
      }}
    >
      <div>
        <span class="gw-label">step</span> {hover.step.toLocaleString("en")}
        {name && <span class="gw-timeline-tip-name">{name}</span>}
      </div>
      {unit && (
        <div>
          <span class="gw-label">unit</span> {unit.unit} <span class="gw-label">{part.name}</span>{" "}
          <span class="gw-number">{unit.value === undefined ? "–" : fixed(unit.value)}</span>
        </div>
      )}
    </div>
  );
}

/** The time or the symbol of a step. */
function useStepNames({ state }: Axis): ((step: number) => string) | undefined {
  const recording = state.recording.value!;
  const row = state.row.value;
  return useLoaded(
    state,
    async () => {
      const { series, text } = recording.meta;
      if (series?.timed) {
        const times = await recording.block(row, "times");
        return (step: number) => time(times[step], series.step);
      }
      if (!text) return () => "";
      const [symbols, error] = await Promise.all([recording.block(row, "symbols"), recording.block(row, "error")]);
      return (step: number) => {
        const nats = Number.isNaN(error[step]) ? "" : ` ${fixed(error[step], 2)} nats`;
        return `“${visible(text.symbols[symbols[step]])}”${nats}`;
      };
    },
    [recording, row],
  );
}
