// The content of the heat-map: the numbers of one quantity, the bytes to paint, and the ends of the scale.

import { useMemo } from "preact/hooks";
import { largest, largestOfEach, type Pyramid, pyramid, survival } from "../../components/heat/pyramid";
import { type Loaded, useLoading } from "../../components/useLoaded";
import type { Range } from "../../data/cell";
import type { Measures, Quantity } from "../../data/quantities";
import type { Recording } from "../../data/recording";
import type { Direction } from "../../data/types";
import type { State } from "../../state";

export interface Shown {
  quantity: Quantity;
  units: number;
  /** Whether they are places of a projection, which are no units. */
  projected: boolean;
  /** The end of a scale around 0; null where each unit has a scale of its own. */
  limit: number | null;
  map: Pyramid;
  value: (unit: number, step: number) => number;
}

interface Values {
  quantity: Quantity;
  measures: Measures;
  direction: Direction;
  units: number;
  projected: boolean;
  /** (T, units); for survival, the parts that are kept. */
  values: Float32Array;
}

/** No value until the first numbers are loaded; later the old ones stay until the new ones are loaded. */
export function useMap(state: State): Loaded<Shown> {
  const recording = state.recording.value;
  const place = [state.row.value, state.layer.value, state.direction.value, state.quantity.value] as const;
  const loaded = useLoading(state, () => recording && load(recording, ...place), [recording, ...place]);
  const { value } = loaded;
  const t = value?.quantity === "survival" ? state.t.value : 0;
  const each = state.each.value;
  return { ...loaded, value: useMemo(() => value && shown(value, t, each), [value, t, each]) };
}

async function load(
  recording: Recording,
  row: number,
  layer: number,
  direction: Direction,
  quantity: Quantity,
): Promise<Values> {
  const read = quantity === "survival" ? "kept" : quantity;
  const values = await recording.quantity(row, layer, direction, read);
  const { measures } = recording;
  const units = recording.width(layer, quantity);
  const projected = units !== recording.meta.layers[layer].hidden;
  return { quantity, measures, direction, units, projected, values };
}

function shown(loaded: Values, t: number, each: boolean): Shown {
  const { quantity, measures, direction, units, projected, values } = loaded;
  if (quantity === "survival") {
    const value = (unit: number, step: number) => survived(loaded, unit, step, t);
    return { quantity, units, projected, limit: 1, map: survival(values, units, t, direction), value };
  }
  const { map, limit } = painted(values, units, measures.of[quantity].range, each);
  return { quantity, units, projected, limit, map, value: (unit, step) => values[step * units + unit] };
}

type Painted = Pick<Shown, "map" | "limit">;

/** Bytes are cached with their numbers, so that returning to a quantity is instant. */
const kept = { shared: new WeakMap<Float32Array, Painted>(), each: new WeakMap<Float32Array, Painted>() };

/** `each`: every unit up to its own maximum, so that small values are visible. */
export function painted(values: Float32Array, units: number, range: Range, ofEach: boolean): Painted {
  const signed = range !== "share";
  const each = ofEach && signed;
  const store = each ? kept.each : kept.shared;
  let found = store.get(values);
  if (!found) {
    const limit = range === "unbounded" ? largest(values) : 1;
    const highs = each ? largestOfEach(values, units) : new Float32Array(units).fill(limit);
    const lows = highs.map((high) => (signed ? -high : 0));
    found = { map: pyramid(values, lows, highs), limit: each ? null : limit };
    store.set(values, found);
  }
  return found;
}

/** The part of a write at k that is left at t. */
function survived({ values, units, direction }: Values, unit: number, k: number, t: number): number {
  const onward = direction === "forward" ? 1 : -1;
  if ((t - k) * onward < 0) return 0;
  let left = 1;
  for (let j = k; j !== t; j += onward) left *= values[(j + onward) * units + unit];
  return left;
}
