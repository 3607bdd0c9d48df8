// Descriptions of a layer's input at a step, in several lengths.

import { useLoaded } from "../../components/useLoaded";
import type { Numbers } from "../../data/source";
import type { Meta } from "../../data/types";
import { plural, short } from "../../format";
import type { State } from "../../state";
import { shown } from "./context";
import type { Blocks } from "./scene";

export interface Input {
  /** The label of the arrow of x. */
  brief: string;
  /** In a sentence: "the layer reads ...". */
  reads: string;
  /** How many numbers. */
  count: number;
  /** A note on the row of the table; "" without one. */
  note: string;
  /** The destination of h, for a sentence and as a label. */
  goesTo: string;
  up: string;
}

const FEW = 3;

export function useInput(state: State, blocks: Blocks, t: number): Input {
  const { recording, row, layer } = blocks;
  const { meta } = recording;
  const name = layer > 0 ? null : meta.text ? "symbols" : "inputs";
  const values = useLoaded(state, () => (name && recording.has(row, name) ? recording.block(row, name) : null), [
    recording,
    row,
    name,
  ]);
  const goal = goalOf(meta, layer);
  if (layer > 0) {
    const below = meta.layers[layer - 1];
    const count = below.output * below.directions.length;
    const both = below.directions.length > 1 ? ", both directions" : "";
    // Above a residual connection it is that of all layers below, added up.
    const sum = meta.residual && layer > 1;
    const from = sum ? `x of layer ${layer - 1} + its h` : `h of layer ${layer - 1}`;
    return {
      brief: `${from}${both} (${count} numbers)`,
      reads: sum
        ? `the input of the layer below plus its hidden state${both}`
        : `the hidden state of the layer below${both}`,
      count,
      ...goal,
      note:
        `Layer ${layer} does not read this itself, but the output of layer ${layer - 1}: its hidden ` +
        `state${both}${sum ? " plus its own input" : ""}, ${plural(count, "number")}.`,
    };
  }
  const count = meta.blocks[row].inputs?.shape[1] ?? meta.inputs.length;
  return meta.text ? symbol(meta, values, t, count, goal) : columns(meta, values, t, count, goal);
}

type Goal = Pick<Input, "goesTo" | "up">;

function goalOf(meta: Meta, layer: number): Goal {
  // With a residual connection, from the second layer on.
  const [plus, added] = meta.residual && layer > 0 ? ["+ x, ", ", added to the input of this layer"] : ["", ""];
  if (layer + 1 < meta.layers.length)
    return { goesTo: `the layer above, layer ${layer + 1}${added}`, up: `${plus}to layer ${layer + 1}` };
  return meta.readouts.length
    ? { goesTo: `the head${added}, which computes the prediction`, up: `${plus}to the head` }
    : { goesTo: `the caller, as the output${added}`, up: `${plus}output` };
}

function symbol(meta: Meta, values: Numbers | null | undefined, t: number, count: number, goal: Goal): Input {
  const at = values?.[t];
  const name = at === undefined ? "…" : `“${shown(meta.text!.symbols, at)}”`;
  const learned = count > 1 ? `, as ${count} learned numbers` : "";
  return { brief: `${name}${learned}`, reads: `the symbol ${name}${learned}`, count, ...goal, note: "" };
}

function columns(meta: Meta, values: Numbers | null | undefined, t: number, count: number, goal: Goal): Input {
  const few = Array.from({ length: Math.min(FEW, count) }, (_, k) => {
    const value = values?.[t * count + k];
    return `${meta.inputs[k] ?? `input ${k}`} ${value === undefined ? "…" : short(value)}`;
  });
  const more = count > FEW ? `, and ${count - FEW} more` : "";
  return {
    brief: few.join(", ") + more,
    reads: count === 1 ? few[0] : `the columns of the table`,
    count,
    ...goal,
    note: meta.series
      ? "In the table's own units. The model reads scaled values, as shown next to x in the drawing."
      : "",
  };
}
