import type { Axis } from "../../components/axis";
import { LEFT } from "../../components/axis";
import type { WhatIf } from "../../data/types";
import { fixed, plural } from "../../format";

/** Marks above the lines: the steps during which gates were held, and where the cell state was set. */
export function Spans({ axis, asked }: { axis: Axis; asked: WhatIf }) {
  const width = axis.width.value;
  const { parts } = axis.state.recording.value!.cell;
  const within = (step: number) => Math.max(0, Math.min(width, axis.x(step)));
  if (!asked.clamp.length && !asked.edit_cell.length) return null;
  return (
    <div class="gw-whatif-spans" style={{ marginLeft: `${LEFT}px`, width: `${width}px` }}>
      {asked.clamp.map(({ gate, units, value, first, end }, k) => (
        <div
          key={k}
          class="gw-whatif-span"
          title={`${parts[gate].name} of ${plural(units.length, "unit")} held at ${fixed(value, 2)}`}
        >
          <i
            style={{
              background: parts[gate].color,
              left: `${within(first)}px`,
              width: `${Math.max(2, within(end) - within(first))}px`,
            }}
          />
        </div>
      ))}
      {asked.edit_cell.length > 0 && (
        <div class="gw-whatif-span">
          {asked.edit_cell
            .filter(({ t }) => axis.x(t) >= 0 && axis.x(t) <= width)
            .map(({ t, units, value }, k) => (
              <b
                key={k}
                style={{ left: `${axis.x(t)}px` }}
                title={`cell state of ${plural(units.length, "unit")} set to ${fixed(value, 2)}`}
              />
            ))}
        </div>
      )}
    </div>
  );
}
