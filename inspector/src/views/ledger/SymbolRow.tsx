// The text under the bars, where a step is wide enough for a letter.

import { type Axis, LEFT, RIGHT } from "../../components/axis";
import { shown } from "../cell/context";

const ROOM = 7;

export function SymbolRow({
  axis,
  symbols,
  names,
  query,
}: {
  axis: Axis;
  symbols: Int32Array;
  names: readonly string[];
  query: number;
}) {
  const wide = axis.perStep.value;
  if (wide < ROOM) return null;
  const [from, to] = axis.state.range.value;
  const first = Math.max(0, Math.floor(from));
  const count = Math.min(symbols.length, Math.ceil(to)) - first;
  return (
    <svg class="gw-symbol-row" width={LEFT + axis.width.value + RIGHT} height={18} aria-hidden="true">
      {Array.from({ length: Math.max(0, count) }, (_, n) => {
        const k = first + n;
        const x = axis.x(k + 0.5);
        if (x < 0 || x > axis.width.value) return null;
        return (
          <text key={k} x={LEFT + x} y={13} data-now={k === query}>
            {shown(names, symbols[k])}
          </text>
        );
      })}
    </svg>
  );
}
