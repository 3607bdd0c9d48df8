// The caption of each part, with the numbers of the unit in focus.

import type { Cell } from "../../data/anatomy";
import type { Gate, NumberedPart, Part } from "../../data/cell";
import { layerOf } from "../../data/equations";
import { plural, trimmed } from "../../format";
import { figure, share } from "./figures";
import { listed, type Spot, type Topic } from "./parts";
import { type Blocks, isSetAnew, stepBefore, type UnitStep } from "./scene";
import { differences } from "./variants";

export interface Caption {
  title: string;
  text: string;
}

/** The data of a caption. */
export interface Facts {
  blocks: Blocks;
  t: number;
  /** The units in sight, and among them the one in focus. */
  units: readonly UnitStep[];
  focus: UnitStep;
  /** Count of the numbers in x, and a description of them. */
  inputs: number;
  reads: string;
  /** The destination of h other than the next step. */
  goesTo: string;
}

export function caption(spot: Spot | null, facts: Facts): Caption {
  if (spot === null) return resting(facts);
  return spot in TOPICS ? TOPICS[spot as Topic](facts) : PARTS[spot as Part](facts);
}

function resting({ blocks: { kind }, focus: u }: Facts): Caption {
  const { parts } = kind;
  const [f, c] = [parts.forget_gate, parts.cell.letter];
  const keeps = kind.has("forget_gate")
    ? `its ${f.name} keeps ${share(u.forget_gate)} of it`
    : "it keeps all of it";
  const only = kind.isPlain ? "each step only scales it and adds to it. " : "";
  const { name } = kind;
  return {
    title: `One step of an ${name}`,
    text:
      `An ${name} keeps two states. The cell state ${c} (top) is the long-term memory${only ? `: ${only}` : ". "}` +
      `The hidden state h (bottom) is the short-term memory: the part of ${c} that the cell shows now. ` +
      `Unit ${u.unit} held ${figure(u.cell_before)}; ${keeps}, the step ` +
      `writes ${figure(u.written)}, and it now holds ${figure(u.cell)} and shows ${figure(u.shown)}. ` +
      "Point at a part, or choose a question above.",
  };
}

const PARTS: Record<Part, (facts: Facts) => Caption> = {
  input: ({ blocks: { kind }, inputs, reads, t }) => ({
    title: `${heading(kind, "input")}: the input of this step`,
    text: `At step ${t} the layer reads ${reads}: ${count(inputs)}. ${boxes(kind)} read them together with h.`,
  }),
  hidden_before: (facts) => {
    const { kind, output } = facts.blocks;
    const { peephole, heads } = kind.features;
    const only = peephole
      ? `This and the input x are what the layers read, next to ${kind.parts.cell.letter}.`
      : `${boxes(kind)} read only this and the input x.`;
    return {
      title: `${heading(kind, "hidden_before")} before the step: the short-term memory`,
      text:
        `The visible part of the memory ${origin(facts)}: ${count(output)}. ${showed(facts.focus)}${only}` +
        (heads > 1 ? ` Units of a head read the ${output / heads} numbers of that head.` : ""),
    };
  },
  cell_before: (facts) => ({
    title: `${heading(facts.blocks.kind, "cell_before")} before the step: the long-term memory`,
    text:
      `The memory ${origin(facts)}: ${count(facts.blocks.size)}, one for each unit. ` +
      `Unit ${facts.focus.unit} holds ${figure(facts.focus.cell_before)}.${edited(facts)}`,
  }),
  normaliser: ({ focus: u }) => ({
    title: "Normaliser n: the sum of all that was let in",
    text:
      "The layers give f and i, an exponential of any size. n adds them up as the cell state would: n′ = f n + i. " +
      `Divided by it, f n / n′ = ${figure(u.forget_gate)} is what unit ${u.unit} keeps and i / n′ = ${figure(u.input_gate)} the share of ` +
      "the new candidate: together 1. Exponentials are computed as logarithms, so that they cannot overflow.",
  }),
  forget_gate: ({ blocks: { kind }, focus: u }) => ({
    title: `${heading(kind, "forget_gate")}: how much to keep`,
    text: kind.has("normaliser")
      ? `The forget gate f, over the normaliser: f n / n′, between 0 and 1. f = ${layerOf(kind, "forget_gate")}. ` +
        `Unit ${u.unit} keeps ${share(u.forget_gate)} of its cell state at this step, and takes the rest from the candidate.`
      : `A layer of weights, f = ${layerOf(kind, "forget_gate")}, so each of its numbers lies between 0 (forget) and 1 (keep). ` +
        `Unit ${u.unit} keeps ${share(u.forget_gate)} of its cell state at this step.`,
  }),
  kept: ({ blocks: { kind }, focus: u }) => ({
    title: `${kind.formula("kept")}: forgetting is a multiplication`,
    text:
      `Unit ${u.unit} held ${figure(u.cell_before)}. Times ${figure(u.forget_gate)} that leaves ${figure(u.kept)}: ` +
      `${figure(u.cell_before - u.kept)} is forgotten. Each unit has a gate of its own.`,
  }),
  input_gate: ({ blocks: { kind }, focus: u }) => ({
    title: `${heading(kind, "input_gate")}: how much to let in`,
    text: kind.has("normaliser")
      ? `The exponential input gate i, over the normaliser: i / n′, between 0 and 1. i = ${layerOf(kind, "input_gate")}. ` +
        `Unit ${u.unit} now consists of the new candidate to ${share(u.input_gate)}.`
      : kind.features.coupled
        ? `It has no weights: i = 1 − f = 1 − ${figure(u.forget_gate)} = ${figure(u.input_gate)}. What a unit forgets makes ` +
          `room for what it writes: unit ${u.unit} lets ${share(u.input_gate)} of the candidate into the cell state.`
        : `A layer, i = ${layerOf(kind, "input_gate")}, so between 0 (closed) and 1 (open). It filters the candidate: ` +
          `unit ${u.unit} lets ${share(u.input_gate)} of it into the cell state.`,
  }),
  candidate: ({ blocks: { kind }, focus: u }) => ({
    title: `${heading(kind, "candidate")}: what could be written`,
    text:
      `Many books call it C̃. A layer, ${kind.parts.candidate.letter} = ${layerOf(kind, "candidate")}, ` +
      (kind.parts.candidate.range === "signed" ? "between −1 and 1, " : "a number of any size, ") +
      `so that ${kind.parts.cell.letter} can go down as well as up. Unit ${u.unit} proposes ${figure(u.candidate)}.`,
  }),
  written: ({ blocks: { kind }, focus: u }) => ({
    title: `${kind.formula("written")}: what is written`,
    text:
      `The ${kind.parts.input_gate.name} filters the candidate, unit by unit. Unit ${u.unit} proposed ${figure(u.candidate)} and ` +
      `lets ${share(u.input_gate)} of it in: ${figure(u.input_gate)} × ${term(u.candidate)} = ${figure(u.written)}.`,
  }),
  summed: ({ blocks: { kind }, focus: u }) => ({
    title: `${kind.formula("summed")}: what is kept and what is written`,
    text: `They add up: ${figure(u.kept)} + ${term(u.written)} = ${figure(u.summed)} for unit ${u.unit}, before ${kind.features.cell_clip ? "clipping" : "zoneout"}.`,
  }),
  clipped: (facts) => ({
    title: "Clipping: a bound of the cell state",
    text: `${clipping(facts, facts.focus.clipped)} Zoneout follows.`,
  }),
  cell: (facts) => {
    const { kind } = facts.blocks;
    const u = facts.focus;
    const { zoneout_cell: z, cell_clip } = kind.features;
    if (z) {
      const fresh = cell_clip ? u.clipped : u.summed;
      return {
        title: "Zoneout: the new cell state c",
        text:
          `In training, zoneout leaves a random ${share(z)} of the units as they were. Here it is the mean of both: ` +
          `${trimmed(z)} × ${term(u.cell_before)} + ${trimmed(1 - z)} × ${term(fresh)} = ${figure(u.cell)} for unit ${u.unit}. ` +
          `In effect it keeps ${trimmed(z)} + ${trimmed(1 - z)} f of c, and writes ${trimmed(1 - z)} of the rest.`,
      };
    }
    if (cell_clip) return { title: "Clipping: the new cell state c", text: clipping(facts, u.cell) };
    const c = kind.parts.cell.letter;
    return {
      title: `+ : the new cell state ${c}`,
      text:
        `What was kept and what is written add up: ${figure(u.kept)} + ${term(u.written)} = ${figure(u.cell)} ` +
        `for unit ${u.unit}. ` +
        (kind.has("normaliser") || kind.features.coupled
          ? "The two factors sum to 1: it is an average of the old and the new."
          : "No weights and no squashing on this line: that is why a memory can last."),
    };
  },
  normal: ({ blocks: { kind }, focus: u }) => ({
    title: "Layer normalisation of c",
    text:
      "On its way to h, c is normalised over all units of the layer: less their mean, divided by their deviation, times a " +
      `learned gain, plus a learned shift. c itself stays as it is. Unit ${u.unit}: ${figure(u.cell)} becomes ${figure(u.normal)}` +
      (kind.has("bent") ? "." : ", which is shown as it is."),
  }),
  bent: ({ blocks: { kind }, focus: u }) => {
    const { sign } = kind.parts.bent.operation!;
    const [read, c] = kind.has("normal") ? [u.normal, "c, normalised,"] : [u.cell, "c itself"];
    return {
      title: `${sign}, value by value`,
      text:
        `No weights: ${sign} only squashes each number into the range from −1 to 1 on the way to h; ${c} stays ` +
        `as it is. Unit ${u.unit}: ${sign}(${figure(read)}) = ${figure(u.bent)}.`,
    };
  },
  output_gate: ({ blocks: { kind }, focus: u }) => ({
    title: `${heading(kind, "output_gate")}: how much to show`,
    text:
      `A layer, o = ${layerOf(kind, "output_gate")}. It decides how much of the memory is shown now; what it hides stays in ` +
      `${kind.parts.cell.letter}. Unit ${u.unit} shows ${share(u.output_gate)} of ${seen(kind)}.`,
  }),
  shown: ({ focus: u, blocks: { kind, output, size } }) => ({
    title: `${kind.projected || kind.features.zoneout_hidden ? "m = " : ""}o ⊗ ${seen(kind)}: what is shown`,
    text:
      `Unit ${u.unit}: ${figure(u.output_gate)} × ${term(u.bent)} = ${figure(u.shown)}. ` +
      (kind.projected
        ? `W_hr computes the ${output} numbers of h from all ${size} such numbers.`
        : kind.features.zoneout_hidden
          ? "Zoneout mixes it with the hidden state before."
          : "That is its value in the hidden state h."),
  }),
  projection: ({ blocks }) => ({
    title: heading(blocks.kind, "projection"),
    text:
      `A matrix of learned weights, without bias or activation: it computes the hidden state ` +
      `h, ${count(blocks.output)}, from the ${blocks.size} that the output gate shows. So h is shorter than c here.`,
  }),
  hidden: ({ focus: u, blocks: { kind }, goesTo }) => {
    const z = kind.features.zoneout_hidden;
    const c = kind.parts.cell.letter;
    return {
      title: "The new hidden state h: the short-term memory",
      text:
        `What the cell shows now. It goes to the next step and to ${goesTo}. ` +
        (kind.projected
          ? `Place ${u.unit} of h is not unit ${u.unit} of c: W_hr mixes all units.`
          : z
            ? `Zoneout keeps a part of the last one, in training of a random choice of units, here its mean: ` +
              `${trimmed(z)} × ${term(u.hidden_before)} + ${trimmed(1 - z)} × ${term(u.shown)} = ${figure(u.hidden)} for unit ${u.unit}.`
            : `Unit ${u.unit} holds ${figure(u.cell)} in ${c} and shows ${figure(u.hidden)}.`),
    };
  },
};

const TOPICS: Record<Topic, (facts: Facts) => Caption> = {
  variant: ({ blocks: { kind } }) => ({
    title: "Next to the plain LSTM",
    text: differences(kind).join(" "),
  }),
  states: ({ blocks, focus: u }) => {
    const c = blocks.kind.parts.cell.letter;
    return {
      title: `${c} and h are vectors: plain lists of numbers`,
      text:
        `${c}, the cell state, has ${count(blocks.size)} and is the long-term memory. h, the hidden state, has ` +
        `${count(blocks.output)} and is the short-term memory: the visible part of ${c}. At this step unit ` +
        `${u.unit} has ${c} = ${figure(u.cell)}` +
        (blocks.kind.projected ? "; h is a mix of all units." : ` and h = ${figure(u.hidden)}.`),
    };
  },
  length: ({ blocks, inputs, focus: u }) => {
    const { kind } = blocks;
    const c = kind.parts.cell.letter;
    const gates = inDrawing(kind).map((gate) => kind.parts[gate].letter);
    const pair = kind.has("forget_gate")
      ? `place ${u.unit} of ${gates[0]}, ${figure(u.forget_gate)}, is paired with place ${u.unit} of ${c}, ${figure(u.cell_before)}. `
      : `place ${u.unit} of ${kind.parts.candidate.letter}, ${figure(u.candidate)}, changes place ${u.unit} of ${c}, ${figure(u.cell_before)}. `;
    return {
      title: kind.projected
        ? `${listed([c, ...gates])} have ${count(blocks.size)}`
        : `${listed([c, "h", ...gates])} all have ${count(blocks.size)}`,
      text:
        `The operations work place by place: ${pair}Such a place is called a unit. ` +
        `The input x may have another length, here ${inputs}` +
        (kind.projected
          ? `, and so may h after a projection, here ${blocks.output}.`
          : "; the layers turn it into this one."),
    };
  },
  gates: ({ blocks: { kind }, focus: u }) => {
    const { parts } = kind;
    const says: Record<Gate, string> = {
      forget_gate: `${heading(kind, "forget_gate")}: how much of the old ${parts.cell.letter} to keep (unit ${u.unit}: ${share(u.forget_gate)}). `,
      candidate: `Candidate ${parts.candidate.letter}, also C̃: what could be written (${figure(u.candidate)}). `,
      input_gate: `${heading(kind, "input_gate")}: how much of it to let in (${share(u.input_gate)}). `,
      output_gate: `Output gate o: how much of the new ${parts.cell.letter} to show as h (${share(u.output_gate)}).`,
    };
    const order = (["forget_gate", "candidate", "input_gate", "output_gate"] as const).filter((gate) =>
      kind.has(gate),
    );
    const gates = order.length - 1;
    return {
      title: `${["No gate", "One gate", "Two gates", "Three gates"][gates]} and a candidate`,
      text: order
        .map((gate) => says[gate])
        .join("")
        .trim(),
    };
  },
  pointwise: ({ blocks: { kind }, units }) => {
    const part = kind.has("kept") ? "kept" : kind.operations[0];
    const reads = (kind.parts[part].reads as NumberedPart[]).slice(0, 2);
    const { kind: sort, around } = kind.parts[part].operation!;
    const lists = reads.map((read) => `[${list(units, read)}]`);
    return {
      title: "Pointwise operations: a vector in, a vector of the same length out",
      text:
        `${listed(signsOf(kind))}: each place separately and without weights. Here ${kind.formula(part)} is ` +
        `${sort === "function" ? around[0] : ""}${lists.join(around[1])}${sort === "function" ? around[2] : ""} = [${list(units, part)}].`,
    };
  },
  layers: ({ blocks: { kind, output, size }, inputs }) => {
    const { features } = kind;
    const learned = inDrawing(kind).filter((gate) => kind.parts[gate].layer).length;
    const normal = features.layer_norm ? "normalises the sums over all units, " : "";
    const c = features.peephole ? ", lets the gates read c, each unit its own" : "";
    const activations = kind.isPlain
      ? "squashes each of the " +
        size +
        " sums: σ to between 0 and 1, for a gate; tanh to between −1 and 1, for content"
      : `applies its activation to each of the ${size} sums`;
    return {
      title:
        learned > 1
          ? `The ${["two", "three", "four"][learned - 2]} boxes are neural network layers`
          : "The box is a neural network layer",
      text:
        `Each reads h and x, concatenated (${features.heads > 1 ? `${output / features.heads} of ${output}` : output} + ${inputs} numbers), multiplies them by its own ` +
        `learned weights, ${normal}${features.bias ? "adds a bias" : "has no bias"}${c}, and ${activations}. ` +
        "Only the boxes have weights; the circles have none.",
    };
  },
  forgetting: ({ focus: u }) => ({
    title: "Times 1 keeps everything, times 0 forgets everything, between forgets a part",
    text:
      `Unit ${u.unit} remembered ${figure(u.cell_before)}. Its forget gate is ${figure(u.forget_gate)}, and ` +
      `${figure(u.forget_gate)} × ${term(u.cell_before)} = ${figure(u.kept)} is left; ` +
      `${figure(u.cell_before - u.kept)} is gone. ` +
      `If the gate stayed at this value for ten steps, ${share(u.forget_gate ** 10)} would be left.`,
  }),
  two: ({ blocks: { kind }, focus: u }) => {
    const c = kind.parts.cell.letter;
    const keeps = kind.has("forget_gate") ? share(u.forget_gate) : "all";
    return {
      title: "One state cannot both keep and show",
      text:
        "A plain RNN has only h and computes it anew at each step, so new input overwrites what it read long " +
        `ago. Here ${c} is never computed anew: unit ${u.unit} keeps ${keeps} of its memory, and ` +
        `may hold ${figure(u.cell)} while it shows ${figure(u.shown)}. What it keeps and what it shows may differ.`,
    };
  },
};

/** "Forget gate f"; "Keep gate" says its letter itself. */
function heading({ parts }: Cell, part: Part): string {
  const { name, letter } = parts[part];
  const title = `${name[0].toUpperCase()}${name.slice(1)}`;
  return name.startsWith(letter) ? title : `${title} ${letter}`;
}

/** The gates and the candidate as the drawing has them, from left to right. */
function inDrawing(cell: Cell): Gate[] {
  return (["forget_gate", "input_gate", "candidate", "output_gate"] as const).filter((gate) => cell.has(gate));
}

/** "All four layers". */
function boxes(cell: Cell): string {
  const learned = inDrawing(cell).filter((gate) => cell.parts[gate].layer).length;
  return ["", "The layer", "Both layers", "All three layers", "All four layers"][learned];
}

/** What the output gate shows: "tanh(c)". */
function seen(cell: Cell): string {
  const { bent, normal, cell: c } = cell.parts;
  return cell.has("bent")
    ? `${bent.operation!.sign}(${cell.has("normal") ? normal.letter : c.letter})`
    : cell.has("normal")
      ? normal.letter
      : c.letter;
}

const MEANING: Record<string, string> = {
  "⊗": "⊗ multiplies",
  "+": "+ adds",
  tanh: "tanh squashes",
  "hard tanh": "hard tanh cuts off at ±1",
  "1 −": "1 − takes the rest",
  norm: "norm scales by all units",
  clip: "clip cuts off",
  zoneout: "zoneout mixes the old and the new",
};

function signsOf(cell: Cell): string[] {
  const signs = cell.operations.map((part) => cell.parts[part].operation!.sign.replace(/ ±.*/, ""));
  return [...new Set(signs)].map((sign) => MEANING[sign] ?? sign);
}

function clipping({ blocks: { kind }, focus: u }: Facts, after: number): string {
  const bound = trimmed(kind.features.cell_clip);
  return (
    `The sum of unit ${u.unit} is ${figure(u.summed)}: ` +
    (Math.abs(u.summed) > kind.features.cell_clip
      ? `beyond ±${bound}, so it is cut to ${figure(after)}. In effect all that it held and wrote is scaled by ${figure(after / u.summed)}.`
      : `within ±${bound}, so it stays.`)
  );
}

function origin({ blocks, t }: Facts): string {
  if (stepBefore(blocks, t) === null) return "before the first step (the initial state)";
  if (blocks.direction === "forward") return "after the previous step";
  return "after the previous step in reading order, which follows this one";
}

function showed({ unit, hidden_before }: UnitStep): string {
  return Number.isNaN(hidden_before) ? "" : `Unit ${unit} showed ${figure(hidden_before)}. `;
}

function edited({ blocks, t, focus }: Facts): string {
  const edit = blocks.edits.find((e) => e.t === t && e.unit === focus.unit);
  if (isSetAnew(blocks, t, focus.unit))
    return " The step does not continue from the state before: that was set anew, by a reset or a patch.";
  return edit ? ` Of that, ${figure(edit.added)} was added by hand.` : "";
}

function count(numbers: number): string {
  return plural(numbers, "number");
}

/** A number in a sum or product: a negative one in parentheses. */
function term(value: number): string {
  const text = figure(value);
  return text.startsWith("−") ? `(${text})` : text;
}

function list(units: readonly UnitStep[], name: keyof UnitStep): string {
  return units.map((unit) => figure(unit[name])).join(", ");
}
