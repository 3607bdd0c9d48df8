import { Component } from "preact";
import type { Cell } from "../../data/anatomy";
import type { Switch } from "../../data/cell";
import { fixed, percent } from "../../format";
import { Amount, Ends, HalfLifeBar, Histogram } from "./marks";
import { stepsText, type UnitRow } from "./rows";

/** The scales of the bars, shared by all rows. */
export interface Extent {
  half_life: [number, number];
  write_rate: number;
  activity: number;
}

interface Props {
  cell: Cell;
  row: UnitRow;
  /** Row index in the whole table, from 1, including the headers. */
  index: number;
  height: number;
  extent: Extent;
  chosen: boolean;
  focus: boolean;
  onChoose: (unit: number, add: boolean) => void;
}

export class UnitTableRow extends Component<Props> {
  /** Most rows do not change during scrolling. */
  shouldComponentUpdate(next: Props): boolean {
    return (Object.keys(next) as (keyof Props)[]).some((key) => next[key] !== this.props[key]);
  }

  render({ cell, row, index, height, extent, chosen, focus, onChoose }: Props) {
    const { unit } = row;
    return (
      <tr
        aria-rowindex={index}
        aria-selected={chosen}
        data-unit={unit}
        style={{ height: `${height}px` }}
        class={focus ? "gw-units-focus" : undefined}
        onClick={(event) => onChoose(unit, event.shiftKey || event.ctrlKey || event.metaKey)}
      >
        <th scope="row" class="gw-number">
          {unit}
        </th>
        <td class="gw-units-labels" title={row.labels.join(", ")}>
          {row.labels.map((label) => (
            <span key={label} class="gw-chip">
              {label}
            </span>
          ))}
        </td>
        <td
          class="gw-units-half-life"
          data-part="half_life"
          data-unit={unit}
          data-value={row.half_life}
          title={row.resetting ? `Between resets; over all steps ${stepsText(row.half_life_overall)}` : undefined}
        >
          <HalfLifeBar row={row} domain={extent.half_life} />
          <span class="gw-number">{stepsText(row.half_life)}</span>
        </td>
        <td data-part="write_rate" data-unit={unit} data-value={row.write_rate}>
          <Amount value={row.write_rate} largest={extent.write_rate} text={fixed(row.write_rate)} />
        </td>
        <td data-part="activity" data-unit={unit} data-value={row.activity}>
          <Amount value={row.activity} largest={extent.activity} text={fixed(row.activity)} />
        </td>
        {cell.switches.map((gate) => (
          <GateCells key={gate} row={row} gate={gate} color={cell.parts[gate].color} />
        ))}
        <td class="gw-units-gate">
          <Histogram color={cell.parts.candidate.color} counts={row.histograms.candidate ?? []} />
        </td>
      </tr>
    );
  }
}

function GateCells({ row, gate, color }: { row: UnitRow; gate: Switch; color: string }) {
  const [closed, open] = [row.closed[gate] ?? NaN, row.open[gate] ?? NaN];
  const share = (part: "closed" | "open") => (
    <td
      class={`gw-units-share gw-number gw-units-${part}`}
      data-part={`${part}.${gate}`}
      data-unit={row.unit}
      data-value={row[part][gate]}
      data-often={(row[part][gate] ?? 0) >= 0.5}
    >
      {percent(row[part][gate] ?? NaN)}
    </td>
  );
  return (
    <>
      {share("closed")}
      <td class="gw-units-gate">
        <Histogram color={color} counts={row.histograms[gate] ?? []} />
        <Ends color={color} closed={closed} open={open} />
      </td>
      {share("open")}
    </>
  );
}
