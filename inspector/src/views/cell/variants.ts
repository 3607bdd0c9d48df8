// What distinguishes a cell from the plain LSTM, in sentences.

import type { Cell } from "../../data/anatomy";
import { trimmed } from "../../format";

/** A sentence for each feature; [] for the plain cell. */
export function differences(cell: Cell): string[] {
  const f = cell.features;
  const says: [boolean, string][] = [
    [
      f.kind === "slstm",
      "This is an sLSTM (Beck et al. 2024): its input gate is an exponential, and a normaliser n divides by the sum of " +
        "all that was let in. So the cell state a is a weighted average of the candidates z, with weights that sum to 1.",
    ],
    [f.kind === "slstm" && f.forget_gate_activation === "exponential", "Its forget gate is an exponential too."],
    [f.heads > 1, `Its units form ${f.heads} heads, and each head reads only its own part of h.`],
    [f.peephole, "Peepholes (dashed): the gates read c too, each unit its own (Gers & Schmidhuber 2000)."],
    [f.coupled, "Coupled gates: i = 1 − f, so a unit writes exactly as much as it forgets (Greff et al. 2017)."],
    [!f.input_gate, "There is no input gate: each candidate is written in full."],
    [!f.forget_gate, "There is no forget gate: nothing is ever forgotten."],
    [!f.output_gate, "There is no output gate: all of c is shown."],
    [
      f.gate_activation !== "sigmoid",
      "Its gates use the hard σ, x/6 + ½ between 0 and 1, which reaches both ends.",
    ],
    [
      f.candidate_activation !== "tanh",
      f.candidate_activation === "identity"
        ? "The candidate has no activation: it is a number of any size."
        : "The candidate uses the hard tanh: x between −1 and 1.",
    ],
    [
      f.kind === "lstm" && f.output_activation !== "tanh",
      f.output_activation === "identity"
        ? "The cell state is shown without an activation."
        : "The cell state is shown through the hard tanh: c between −1 and 1.",
    ],
    [
      f.layer_norm,
      "Layer normalisation: the sums of each gate, and c on its way to h, are normalised over all units (Ba et al. 2016).",
    ],
    [f.cell_clip > 0, `c is clipped to ±${trimmed(f.cell_clip)} after each update.`],
    [
      f.zoneout_cell > 0,
      `Zoneout keeps ${trimmed(f.zoneout_cell)} of the previous c (dashed): in training a random choice of units, here its mean (Krueger et al. 2017).`,
    ],
    [f.zoneout_hidden > 0, `Zoneout keeps ${trimmed(f.zoneout_hidden)} of the previous h.`],
  ];
  return says.filter(([there]) => there).map(([, sentence]) => sentence);
}
