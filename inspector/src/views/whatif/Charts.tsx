import { useMemo } from "preact/hooks";
import { Axis } from "../../components/axis";
import { domainOf, Lines, type Line, type Values } from "../../components/Lines";
import { Stage } from "../../components/Stage";
import type { WhatIf } from "../../data/types";
import { short } from "../../format";
import type { State } from "../../state";
import type { Comparison } from "./compare";
import { Spans } from "./Spans";

interface Props {
  state: State;
  comparison: Comparison;
  /** What led to the changed run, where it was asked for in this page. */
  asked: WhatIf | null;
}

/** Both runs over each other, and their difference below. */
export function Charts({ state, comparison, asked }: Props) {
  const axis = useMemo(() => new Axis(state), [state]);
  const { truth, before, after, difference, change } = comparison;
  const lines = useMemo(() => {
    const drawn: Line[] = [];
    if (truth) drawn.push({ values: truth, color: "--gw-truth", width: 1 });
    drawn.push({ values: before, color: "--gw-peer", width: after ? 2 : 1.5 });
    if (after) drawn.push({ values: after, color: "--gw-accent", width: 1.5 });
    return drawn;
  }, [comparison]);
  return (
    <Stage axis={axis}>
      {asked && <Spans axis={axis} asked={asked} />}
      <Panel axis={axis} name={comparison.name} lines={lines} height={210} />
      {difference && <Single axis={axis} name="changed − original" values={difference} height={96} />}
      {change && comparison.kind === "text" && <Single axis={axis} name={change.name} values={change.values} height={76} />}
    </Stage>
  );
}

interface PanelProps {
  axis: Axis;
  name: string;
  lines: Line[];
  height: number;
}

function Panel({ axis, name, lines, height }: PanelProps) {
  const domain = useMemo(() => domainOf(lines.flatMap(({ values }) => values)), [lines]);
  return (
    <div class="gw-whatif-panel">
      <Lines axis={axis} label={name} height={height} lines={lines} domain={domain} />
      <span class="gw-whatif-name">{name}</span>
    </div>
  );
}

interface SingleProps {
  axis: Axis;
  name: string;
  values: Values;
  height: number;
}

/** One line about 0. */
function Single({ axis, name, values, height }: SingleProps) {
  const lines = useMemo(() => [{ values, color: "--gw-accent" }], [values]);
  const domain = useMemo(() => domainOf([...values, 0]), [values]);
  const t = axis.state.t.value;
  const here = values[t] ?? null;
  return (
    <div class="gw-whatif-panel">
      <Lines axis={axis} label={name} height={height} lines={lines} domain={domain} />
      <span class="gw-whatif-name">{name}</span>
      {here !== null && <span class="gw-whatif-here gw-number" data-value={here}>{short(here)}</span>}
    </div>
  );
}
