// The memory ledger: what each step wrote into a unit's cell state, and how much of it is left.
//
//   c_t = sum_k (prod_{j=k+1..t} f_j) i_k g_k + (prod_{j=0..t} f_j) c_initial
//
// The same as `gatewright.insight.ledger`, in float64 over the recorded float32 numbers.

/** One unit over the steps 0 ... T-1. */
export interface Column {
  input_gate: Float32Array;
  forget_gate: Float32Array;
  candidate: Float32Array;
  cell_initial: number;
  /** Manual additions to the cell state before a step, by step. */
  added: ReadonlyMap<number, number>;
}

export interface Ledger {
  /** The remainder at t of the write of step k, k = 0 ... t. */
  shares: Float64Array;
  /** The fraction of a write at k that is left at t: prod_{j=k+1..t} f_j. */
  survival: Float64Array;
  /** The remainder of the initial cell state. */
  initial: number;
  /** The remainder of manual changes. */
  edited: number;
}

/** The ledger of one unit at step t. Products run back from t, so that only old ones underflow. */
export function ledger(unit: Column, t: number): Ledger {
  const shares = new Float64Array(t + 1);
  const survival = new Float64Array(t + 1);
  let left = 1;
  let edited = 0;
  for (let k = t; k >= 0; k--) {
    survival[k] = left;
    shares[k] = left * unit.input_gate[k] * unit.candidate[k];
    left *= unit.forget_gate[k];
    edited += left * (unit.added.get(k) ?? 0);
  }
  return { shares, survival, initial: left * unit.cell_initial, edited };
}

/** The fraction of a write at k that is left after each later step: prod_{j=k+1..k+n} f_j, 1 for n = 0. */
export function fate(forget: Float32Array, k: number): Float64Array {
  const left = new Float64Array(forget.length - k);
  left[0] = 1;
  for (let t = k + 1; t < forget.length; t++) left[t - k] = left[t - k - 1] * forget[t];
  return left;
}

/** Steps after which half of a write is left, interpolated between two steps; null if more is left at the end. */
export function halfLife(left: Float64Array): number | null {
  const after = left.findIndex((part) => part <= 0.5);
  if (after < 0) return null;
  const [above, below] = [left[after - 1], left[after]];
  return below > 0 ? after - 1 + Math.log(above / 0.5) / Math.log(above / below) : after;
}

/** A layer in one direction: (T, H), with the steps in the order of reading. */
export interface Layer {
  input_gate: Float32Array;
  forget_gate: Float32Array;
  candidate: Float32Array;
  /** (H,). */
  cell_initial: Float32Array;
  added: ReadonlyMap<number, readonly { unit: number; added: number }[]>;
}

/** A weighted sum of cell states, split by step. */
export interface Shares {
  shares: Float64Array;
  initial: number;
  edited: number;
}

/**
 * The factor of each unit's cell state in `weight . h`, h = o tanh(c), so that the factors times c sum to it
 * exactly: w o tanh(c)/c, the secant through tanh.
 */
export function secant(weight: Float32Array, output_gate: Float32Array, cell: Float32Array): Float64Array {
  return Float64Array.from(
    weight,
    (w, u) => w * output_gate[u] * (cell[u] === 0 ? 1 : Math.tanh(cell[u]) / cell[u]),
  );
}

/** A unit is dropped once its remainder is below this fraction, less than the last digit of a double. */
const NOTHING = 1e-24;
/** Steps between two searches for such units. */
const SWEEP = 32;

/**
 * The ledger of `sum_u weight_u c_u` at step t. O(t H): back in time, one row of a step at a time; units without a
 * remainder are dropped on the way.
 */
export function weighted(layer: Layer, weight: Float64Array, t: number): Shares {
  const H = weight.length;
  const { input_gate, forget_gate, candidate } = layer;
  const shares = new Float64Array(t + 1);
  const left = Float64Array.from(weight);
  const nothing = NOTHING * weight.reduce((most, part) => Math.max(most, Math.abs(part)), 0);
  let alive = Int32Array.from({ length: H }, (_, u) => u);
  let edited = 0;
  for (let k = t; k >= 0 && alive.length > 0; k--) {
    const row = k * H;
    let share = 0;
    for (let n = 0; n < alive.length; n++) {
      const u = alive[n];
      const part = left[u];
      share += part * input_gate[row + u] * candidate[row + u];
      left[u] = part * forget_gate[row + u];
    }
    shares[k] = share;
    for (const edit of layer.added.get(k) ?? []) edited += left[edit.unit] * edit.added;
    if (k % SWEEP === 0) alive = alive.filter((u) => Math.abs(left[u]) > nothing);
  }
  return { shares, initial: left.reduce((sum, part, u) => sum + part * layer.cell_initial[u], 0), edited };
}
