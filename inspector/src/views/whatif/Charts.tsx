import { useMemo } from "preact/hooks";
import { Axis } from "../../components/axis";
import { domainOf, type Line, Lines } from "../../components/Lines";
import { Stage } from "../../components/Stage";
import { TimeAxis } from "../../components/TimeAxis";
import { useLoaded } from "../../components/useLoaded";
import type { WhatIf } from "../../data/types";
import { short } from "../../format";
import type { State } from "../../state";
import type { Comparison } from "./compare";
import { Spans } from "./Spans";

interface Props {
  state: State;
  comparison: Comparison;
  /** The request of the changed run, if it was made in this page. */
  asked: WhatIf | null;
}

/** Heights of the panels: a text has a table below and needs room for it. */
const HEIGHTS = { text: { alone: 320, both: 210, apart: 96 }, numbers: { alone: 460, both: 340, apart: 150 } };

/** Both runs in one plot, and their difference below. */
export function Charts({ state, comparison, asked }: Props) {
  const axis = useMemo(() => new Axis(state), [state]);
  const [recording, row] = [state.recording.value!, state.row.value];
  const timed = recording.meta.series?.timed ?? false;
  const times = useLoaded(state, async () => (timed ? recording.block(row, "times") : null), [
    recording,
    row,
    timed,
  ]);
  const { truth, before, after, difference, change } = comparison;
  const runs = useMemo(() => {
    const drawn: Line[] = [];
    if (truth) drawn.push({ values: truth, color: "--gw-truth", width: 1 });
    drawn.push({ values: before, color: "--gw-peer", width: after ? 2 : 1.5 });
    if (after) drawn.push({ values: after, color: "--gw-accent", width: 1.5 });
    return drawn;
  }, [comparison]);
  const apart = useMemo(() => difference && [{ values: difference, color: "--gw-accent" }], [difference]);
  const moved = useMemo(
    () => change && comparison.kind === "text" && [{ values: change.values, color: "--gw-accent" }],
    [change],
  );
  const high = HEIGHTS[comparison.kind === "text" ? "text" : "numbers"];
  return (
    <Stage axis={axis}>
      {asked && <Spans axis={axis} asked={asked} />}
      <Panel axis={axis} name={comparison.name} lines={runs} height={after ? high.both : high.alone} />
      {apart && <Panel axis={axis} name="changed − original" lines={apart} height={high.apart} withZero />}
      {moved && <Panel axis={axis} name={change!.name} lines={moved} height={76} withZero />}
      <TimeAxis axis={axis} times={timed ? (times as Float64Array | null) : null} />
    </Stage>
  );
}

interface PanelProps {
  axis: Axis;
  name: string;
  lines: Line[];
  height: number;
  withZero?: boolean;
}

/** Lines with their name, and their values at the chosen step on the right. */
function Panel({ axis, name, lines, height, withZero = false }: PanelProps) {
  const domain = useMemo(
    () => domainOf([...lines.flatMap(({ values }) => values), ...(withZero ? [0] : [])]),
    [lines, withZero],
  );
  const t = axis.state.t.value;
  return (
    <div class="gw-whatif-panel">
      <span class="gw-whatif-name">{name}</span>
      <Lines axis={axis} label={name} height={height} lines={lines} domain={domain} />
      <div class="gw-whatif-here gw-number" role="group" aria-label={`${name} at the chosen step`}>
        {lines.map(({ values, color }) => {
          const value = values[t] ?? NaN;
          return (
            <span
              key={color}
              style={{ color: `color-mix(in srgb, var(${color}) 72%, var(--gw-text))` }}
              data-value={value}
            >
              {short(value)}
            </span>
          );
        })}
      </div>
    </div>
  );
}
