// The data of a page: the contract with `gatewright/inspector/payload.py`, which writes it.
//
// A recording is a `Meta` and named blocks of numbers. Every block belongs to one row of the batch.
// T steps, H units, P outputs of a layer (H without a projection), C columns, V symbols.

import type { Gate, Switch } from "./cell";
import type { GivenFeatures } from "./features";

export type Direction = "forward" | "reverse";

export interface LayerShape {
  /** H. */
  hidden: number;
  /** P. */
  output: number;
  directions: Direction[];
}

export interface RowShape {
  name: string;
  /** T of this row. */
  steps: number;
}

export interface SeriesMeta {
  targets: string[];
  /** Names of the block `columns`: the targets first, then other inputs, in the table's own units. */
  columns: string[];
  horizon: number;
  quantiles: number[];
  /** Time between two rows, such as "1h"; "row" where the table has no timestamps. */
  step: string;
  /** Whether there is a block `times`. */
  timed: boolean;
}

export interface TextMeta {
  /** Symbol 0 stands for every character that the model does not know. */
  symbols: string[];
}

/** A plain RNN for comparison, h' = tanh(W x + U h + b); the hidden state is its only state. */
export interface PeerMeta {
  name: string;
  hidden: number;
}

/** A manual change of the cell state before a step. */
export interface Edit {
  row: number;
  layer: number;
  direction: Direction;
  t: number;
  unit: number;
  /** The amount added to the cell state. */
  added: number;
}

export interface Meta {
  id: string;
  /** What was recorded, for example "seattle_weather, test part". */
  title: string;
  /** Its difference from other recordings, such as "step 200" or "forget gate of 3 units at 0"; may be "". */
  note: string;
  /** SHA-256 of the model. */
  fingerprint: string;
  kind: "series" | "text" | "layers";
  rows: RowShape[];
  layers: LayerShape[];
  /** The cell of all layers. */
  cell?: GivenFeatures;
  /** Whether the cell state is a weighted average of candidates: what a step keeps and what it lets in sum to 1. */
  weighted?: boolean;
  /** Whether a layer adds its input to its hidden state where their widths agree. */
  residual?: boolean;
  /** Names of the first layer's inputs: columns of the block `inputs`. */
  inputs: string[];
  series: SeriesMeta | null;
  text: TextMeta | null;
  /** Names of the outputs of the head: rows of the block `head`, [] without a head. */
  readouts: string[];
  /** Names of the columns of the block `output` of a classifier, the probabilities of its classes; else []. */
  outputs: string[];
  peer: PeerMeta | null;
  /** The manual changes of a "what if" recording. */
  edits: Edit[];
  /** The original of a "what if" recording, or null. */
  origin: string | null;
  /** Shape and type of each block of each row, by the block's name. */
  blocks: Record<string, BlockShape>[];
}

/** float32, float64 or int32, little endian, the last axis fastest. */
export interface BlockShape {
  dtype: "f4" | "f8" | "i4";
  shape: number[];
}

// Blocks of a row:
//
//   {layer}/{direction}/{gate}            (T, H)   after activation
//   {layer}/{direction}/cell              (T, H)   after each step
//   {layer}/{direction}/hidden            (T, P)   only with a projection or zoneout; else h = o act(normal)
//   {layer}/{direction}/kept, written     (T, H)   only with clipping or zoneout of c: the effective factors of
//                                                  c_t = kept c_{t-1} + written, which else are f and i g
//   {layer}/{direction}/normal            (T, H)   only with layer normalisation: what the output activation reads;
//                                                  else c
//   {layer}/{direction}/normal_scale      (T, H)   likewise: normal = normal_scale (c - mean of c) + shift
//   {layer}/{direction}/cell_initial      (H,)
//   {layer}/{direction}/hidden_initial    (P,)
//   inputs                                (T, D)   what the first layer read
//   head                                  (outputs, P); head_bias (outputs,)
//   error                                 (T,)     of the forecast for step t made one step before; NaN where
//                                                  there is none. Text: nats. Series: |forecast - truth| in standard
//                                                  deviations, mean over targets
//   times (series, timed)                 (T,) f8  milliseconds since 1970, UTC
//   columns (series)                      (T, C)   as in the table; NaN where missing
//   truth (series)                        (T, horizon, targets): true values 1 ... horizon steps after t; NaN
//                                                  where there are none
//   forecast (series)                     (T, horizon, targets, quantiles): made at t for t + 1 ... t + horizon
//   symbols (text)                        (T,) i4
//   scores (text)                         (T, V)   log-probability of each symbol at t + 1
//   output (layers)                       (T, P); of a classifier (T, classes), its probabilities by the steps so far
//   peer/hidden, peer/forecast, peer/scores, peer/error    as above, of the plain RNN

/** Figures of one layer in one direction over all rows; arrays have one entry for each unit, null without a value. */
export interface LayerDiagnosis {
  layer: number;
  direction: Direction;
  /** Steps until half is left, from the mean of log f; between resets for a unit that resets; null: never. */
  half_life: (number | null)[];
  /** The same over all steps, including resets. */
  half_life_overall: (number | null)[];
  /** Half-life at the 10th and 90th percentile of f over the steps. */
  half_life_low: (number | null)[];
  half_life_high: (number | null)[];
  /** Share of steps with the forget gate below ½, which reset the unit; longest run of steps without one. */
  resets: number[];
  longest: number[];
  /** Share of steps with the gate below 0.1, and above 0.9; of the gates that the cell has. */
  closed: Partial<Record<Switch, number[]>>;
  open: Partial<Record<Switch, number[]>>;
  /** Mean of |i g|. */
  write_rate: number[];
  /** Standard deviation of the hidden state over the steps (of h before a projection). */
  activity: number[];
  /** Mean of |c|, and share of steps with |tanh(c)| above 0.99, which is null where there is no bound. */
  size: number[];
  saturated: (number | null)[];
  /** Labels of a unit: "dead", "counter", "long memory", "resets", ...; [] for an ordinary one. */
  labels: string[][];
  /** Counts in equal bins from 0 to 1 (candidate: -1 to 1), (H, bins); of the gates that the cell has. */
  histograms: Partial<Record<Gate, number[][]>>;
  /** The ends of the bins where a histogram has others. */
  ranges?: Partial<Record<Gate, [number, number]>>;
}

export interface Advice {
  layer: number;
  direction: Direction;
  units: number[];
  /** A sentence with its figure: the observation. */
  finding: string;
  /** What to try. */
  advice: string;
}

/** How much h at the end depends on the input `lag` steps earlier: the norm of the derivative. */
export interface Horizon {
  lags: number[];
  lstm: number[];
  peer: number[] | null;
}

export interface Diagnosis {
  layers: LayerDiagnosis[];
  advice: Advice[];
  horizon: Horizon | null;
}

/** The request of `Source.whatIf`, for one row, one layer and one direction. */
export interface WhatIf {
  row: number;
  layer: number;
  direction: Direction;
  /** Gates held at a value, for steps from `first` to before `end`. */
  clamp: { gate: Gate; units: number[]; value: number; first: number; end: number }[];
  /** Units whose hidden state is zero throughout. */
  ablate: number[];
  /** The cell state at the start of step t, set by hand. */
  edit_cell: { t: number; units: number[]; value: number }[];
}

/** One recording among those that a page can show. */
export interface Entry {
  id: string;
  /** As in `Meta.note`. */
  note: string;
  /** Training step of a checkpoint; null for others. */
  step: number | null;
  /** Validation score of a checkpoint; null for others. */
  score: number | null;
  /** Name of the score, such as "quantile loss"; "" without a score. */
  unit: string;
  /** Whether it is shown first; without such an entry the last one is. */
  first: boolean;
  /** An introduction of a few sentences; may be "". */
  intro: string;
  /** The initial place, as in the address of the page ("t=12&units=5"); may be "". */
  place: string;
  /** Name of the recorded layers in a module of the user, and units of each of them; "" and [] for others. */
  name: string;
  layers: number[];
}
