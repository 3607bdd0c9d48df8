import { useMemo } from "preact/hooks";
import { useLoaded } from "../../components/useLoaded";
import { comparable, correlations, figures } from "../../order";
import type { Order, State } from "../../state";
import type { Figure } from "./UnitStrip";

/** The figure that stands beside each unit: what the units are sorted by, else the half-life. */
export function useFigure(state: State): Figure | undefined {
  const recording = state.recording.value!;
  const [row, layer, direction] = [state.row.value, state.layer.value, state.direction.value];
  const order = state.order.value;
  const column = order === "correlation" ? state.column.value : 0;
  const loaded = useLoaded(
    state,
    async () => {
      const values =
        order === "correlation" ? await correlations(recording, row, layer, direction, column)
        : await figures(recording, layer, direction, order === "activity" ? "activity" : "half_life");
      return { order, values, column: comparable(recording)[column] ?? "error" };
    },
    [recording, row, layer, direction, order, column],
  );
  return useMemo(() => loaded && scaled(loaded.order, loaded.values, loaded.column), [loaded]);
}

function scaled(order: Order, values: (number | null)[], column: string): Figure {
  const known = values.filter((value) => value !== null);
  if (order === "correlation") {
    const explained = `Correlation of each unit's cell state with ${column}`;
    return { name: `r, ${column}`, explained, values, low: -1, high: 1, log: false };
  }
  const most = Math.max(...known, 0);
  if (order === "activity") {
    const explained = "Standard deviation of the hidden state over the steps";
    return { name: "activity", explained, values, low: 0, high: most || 1, log: false };
  }
  const explained = "Steps after which half of what a unit holds is left, on a logarithmic scale";
  const power = Math.ceil(Math.log10(Math.max(10, most)));
  return { name: "half-life", explained, values, low: 0.1, high: 10 ** power, log: true };
}
