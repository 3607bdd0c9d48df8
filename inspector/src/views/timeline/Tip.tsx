import type { Axis } from "../../components/axis";
import { PointerNote } from "../../components/PointerNote";
import { useLoaded } from "../../components/useLoaded";
import { fixed, plural, short, time, visible } from "../../format";
import { forecastsOf, looked, median } from "./forecast";

/** The numbers under the pointer. */
export function Tip({ axis }: { axis: Axis }) {
  const names = useStepNames(axis);
  const said = useForecasts(axis);
  const hover = axis.hover.value;
  if (!hover) return null;
  const unit = axis.hoverUnit.value;
  const name = names?.(hover.step);
  return (
    <PointerNote axis={axis} kind="gw-timeline-tip">
      <div>
        <span class="gw-label">step</span> {hover.step.toLocaleString("en")}
        {name && <span class="gw-timeline-tip-name">{name}</span>}
      </div>
      {said?.(hover.step).map(([what, value]) => (
        <div key={what}>
          <span class="gw-label">{what}</span> <span class="gw-number">{short(value)}</span>
        </div>
      ))}
      {unit && (
        <div>
          <span class="gw-label">unit</span> {unit.unit} <span class="gw-label">{unit.part}</span>{" "}
          <span class="gw-number">{unit.value === undefined ? "–" : fixed(unit.value)}</span>
        </div>
      )}
    </PointerNote>
  );
}

/** The time or the symbol of a step. */
function useStepNames({ state }: Axis): ((step: number) => string) | undefined {
  const recording = state.recording.value!;
  const row = state.row.value;
  return useLoaded(state, async () => {
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
  }, [recording, row]);
}

/** The true value at a step, and its forecast. */
function useForecasts({ state }: Axis): ((step: number) => [string, number][]) | undefined {
  const recording = state.recording.value!;
  const row = state.row.value;
  const { series } = recording.meta;
  const { target, lead } = series ? looked(state, series) : { target: 0, lead: 1 };
  return useLoaded(state, async () => {
    if (!series) return () => [];
    const columns = await recording.block(row, "columns");
    const { lstm } = await forecastsOf(recording, row);
    return (step: number): [string, number][] => {
      const place = ((step - lead) * series.horizon + lead - 1) * series.targets.length + target;
      const forecast = step < lead ? NaN : lstm[place * series.quantiles.length + median(series)];
      return [
        [series.targets[target], columns[step * series.columns.length + target]],
        [`forecast ${plural(lead, "step")} before`, forecast],
      ];
    };
  }, [recording, row, target, lead]);
}
