// What a cell is: `CellSpec` of `gatewright/spec/cell.py`, as `meta.cell` has it.

export type GateActivation = "sigmoid" | "hard_sigmoid";
export type StateActivation = "tanh" | "hard_tanh" | "identity";

export interface Features {
  /** The sLSTM has exponential gates and a normaliser; a recording has its effective gates. */
  kind: "lstm" | "slstm";
  heads: number;
  forget_gate_activation: "sigmoid" | "exponential";
  bias: boolean;
  peephole: boolean;
  /** i = 1 - f. */
  coupled: boolean;
  /** Whether there is such a gate; one that is absent is 1 throughout. */
  input_gate: boolean;
  forget_gate: boolean;
  output_gate: boolean;
  gate_activation: GateActivation;
  candidate_activation: StateActivation;
  output_activation: StateActivation;
  /** Bound of |c|; 0 for none. */
  cell_clip: number;
  layer_norm: boolean;
  /** The part of the previous c, or h, that is kept. */
  zoneout_cell: number;
  zoneout_hidden: number;
  /** The width of h with a projection; 0 without one. */
  proj_size: number;
}

/** Features that the page does not show are those of training alone. */
export type GivenFeatures = Partial<Features>;

export const PLAIN: Features = {
  kind: "lstm",
  heads: 1,
  forget_gate_activation: "sigmoid",
  bias: true,
  peephole: false,
  coupled: false,
  input_gate: true,
  forget_gate: true,
  output_gate: true,
  gate_activation: "sigmoid",
  candidate_activation: "tanh",
  output_activation: "tanh",
  cell_clip: 0,
  layer_norm: false,
  zoneout_cell: 0,
  zoneout_hidden: 0,
  proj_size: 0,
};

/** All features of a cell; those that are not named are those of the plain one. */
export function featuresOf(given: GivenFeatures): Features {
  const features = { ...PLAIN, ...given };
  // The other fields of an sLSTM keep their defaults, but its output is o times c / n itself.
  return features.kind === "slstm" ? { ...features, output_activation: "identity" } : features;
}

/** An activation of the gates or the states, as a function. */
export function activation(name: StateActivation): (value: number) => number {
  if (name === "tanh") return Math.tanh;
  return name === "hard_tanh" ? (value) => Math.max(-1, Math.min(1, value)) : (value) => value;
}

const SYMBOL: Record<GateActivation | StateActivation | "exponential", string> = {
  sigmoid: "σ",
  hard_sigmoid: "hard σ",
  tanh: "tanh",
  hard_tanh: "hard tanh",
  identity: "linear",
  exponential: "exp",
};

/** The name of an activation in a drawing. */
export function symbolOf(name: keyof typeof SYMBOL): string {
  return SYMBOL[name];
}
