// The memory ledger: what each step wrote into a unit's cell state, and how much of it is left.
//
//   c_t = sum_k (prod_{j=k+1..t} kept_j) written_k + (prod_{j=0..t} kept_j) c_initial
//
// `kept` and `written` are the effective factors of a step, f and i g of the plain cell. The same as
// `gatewright.insight.ledger`, in float64 over the recorded float32 numbers.

/** One unit over the steps 0 ... T-1. */
export interface Column {
  kept: Float64Array;
  written: Float64Array;
  /** The factor of the candidate in `written` where nothing is clipped. */
  input: Float64Array;
  candidate: Float64Array;
  cell_initial: number;
  /** Manual additions to the cell state before a step, by step. */
  added: ReadonlyMap<number, number>;
}

export interface Ledger {
  /** The remainder at t of the write of step k, k = 0 ... t. */
  shares: Float64Array;
  /** The fraction of a write at k that is left at t: prod_{j=k+1..t} kept_j. */
  survival: Float64Array;
  /** The remainder of the initial cell state, and the fraction of it that is left. */
  initial: number;
  left: number;
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
    shares[k] = left * unit.written[k];
    left *= unit.kept[k];
    edited += left * (unit.added.get(k) ?? 0);
  }
  return { shares, survival, initial: left * unit.cell_initial, left, edited };
}

/**
 * The weights of the candidates, where what a step keeps and what it lets in sum to 1. They are at least 0, and with
 * what is left of the initial state they sum to 1, so that the cell state is a weighted average.
 */
export function weightsOf(unit: Column, { survival }: Ledger): Float64Array {
  return survival.map((left, k) => left * unit.input[k]);
}

/** The fraction of a write at k that is left after each later step: prod_{j=k+1..k+n} kept_j, 1 for n = 0. */
export function fate(kept: Float64Array, k: number): Float64Array {
  const left = new Float64Array(kept.length - k);
  left[0] = 1;
  for (let t = k + 1; t < kept.length; t++) left[t - k] = left[t - k - 1] * kept[t];
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
  kept: Float32Array;
  input_gate: Float32Array;
  candidate: Float32Array;
  /** What a step writes, where that is not i g. */
  written: Float32Array | null;
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

/** How `weight . h` at a step depends on the shares of the units' cell states there. */
export interface Split {
  /** By unit: the factor of a share. */
  factors: Float64Array;
  /** What belongs to no step: shifts of layer normalisation, and what zoneout carries of the hidden state before. */
  rest: number;
}

/** The numbers of one step, (H,) each, from which `weight . h` follows. */
export interface Shown {
  output_gate: ArrayLike<number>;
  cell: ArrayLike<number>;
  /** With layer normalisation: what the output activation reads, and normal = scale (c - mean of c) + shift. */
  normal: ArrayLike<number> | null;
  scale: ArrayLike<number> | null;
  activation: (value: number) => number;
  /** The part of the hidden state before that zoneout carries, and that state. */
  zoneout: number;
  hidden_before: ArrayLike<number>;
}

/**
 * The factors of each unit's cell state in `weight . h`, so that the factors times c, and the rest, sum to it exactly.
 * h = o act(c) gives w o act(c)/c, the secant through the activation. Under layer normalisation the deviation is taken
 * as it was, and a unit's c counts less the mean over all units.
 */
export function splitOf(weight: ArrayLike<number>, step: Shown): Split {
  const H = weight.length;
  const factors = new Float64Array(H);
  let rest = 0;
  let mean = 0;
  for (let u = 0; u < H; u++) mean += step.cell[u] / H;
  for (let u = 0; u < H; u++) {
    const read = (step.normal ?? step.cell)[u];
    const shown = (1 - step.zoneout) * weight[u] * step.output_gate[u];
    const secant = shown * (Math.abs(read) < LINEAR ? 1 : step.activation(read) / read);
    rest += step.zoneout * weight[u] * (step.hidden_before[u] ?? 0);
    if (step.scale) rest += secant * (read - step.scale[u] * (step.cell[u] - mean));
    factors[u] = step.scale ? secant * step.scale[u] : secant;
  }
  if (step.scale) {
    const centre = factors.reduce((sum, factor) => sum + factor, 0) / H;
    for (let u = 0; u < H; u++) factors[u] -= centre;
  }
  return { factors, rest };
}

/** Below this an activation is its argument: each has the slope 1 at 0. */
const LINEAR = 1e-8;
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
  const { kept, input_gate, candidate, written } = layer;
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
      share += part * (written ? written[row + u] : input_gate[row + u] * candidate[row + u]);
      left[u] = part * kept[row + u];
    }
    shares[k] = share;
    for (const edit of layer.added.get(k) ?? []) edited += left[edit.unit] * edit.added;
    if (k % SWEEP === 0) alive = alive.filter((u) => Math.abs(left[u]) > nothing);
  }
  return { shares, initial: left.reduce((sum, part, u) => sum + part * layer.cell_initial[u], 0), edited };
}
