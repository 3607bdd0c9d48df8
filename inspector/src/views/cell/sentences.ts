// What the caption says of each part, with the numbers of the unit in focus.

import { CELL, type Part } from "../../data/cell";
import { plural } from "../../format";
import { figure, share } from "./figures";
import type { Spot, Topic } from "./parts";
import { type Blocks, stepBefore, type UnitStep } from "./scene";

export interface Caption {
  title: string;
  text: string;
}

/** What a sentence needs. */
export interface Told {
  blocks: Blocks;
  t: number;
  /** The units in sight, and among them the one in focus. */
  units: readonly UnitStep[];
  focus: UnitStep;
  /** How many numbers the layer reads as x, and what they are. */
  inputs: number;
  reads: string;
  /** Where h goes besides the next step. */
  goesTo: string;
}

export function caption(spot: Spot | null, told: Told): Caption {
  if (spot === null) return resting(told);
  return spot in TOPICS ? TOPICS[spot as Topic](told) : PARTS[spot as Part](told);
}

function resting({ focus: u }: Told): Caption {
  return {
    title: "One step of an LSTM",
    text:
      "It keeps two states. The cell state c (above) is the long-term memory: each step only scales it and adds " +
      "to it. The hidden state h (below) is the short-term memory: what the cell shows of c now. " +
      `Unit ${u.unit} held ${figure(u.cell_before)}; its forget gate keeps ${share(u.forget_gate)} of that, the step ` +
      `writes ${figure(u.written)}, so it now holds ${figure(u.cell)}, of which it shows ${figure(u.shown)}. ` +
      "Point at a part, or ask above.",
  };
}

const PARTS: Record<Part, (told: Told) => Caption> = {
  input: ({ inputs, reads, t }) => ({
    title: `${heading("input")}: what is read now`,
    text: `At step ${t} the layer reads ${reads}: ${count(inputs)}. Together with h they go into all four layers.`,
  }),
  hidden_before: (told) => ({
    title: `${heading("hidden_before")} from before: the short-term memory`,
    text:
      `What the cell showed last, ${origin(told)}: ${count(told.blocks.output)}. ${showed(told.focus)}` +
      "Side by side with the input x it is all that the four layers read.",
  }),
  cell_before: (told) => ({
    title: `${heading("cell_before")} from before: the long-term memory`,
    text:
      `What the cell remembers, ${origin(told)}: ${count(told.blocks.size)}, one for each unit. ` +
      `Unit ${told.focus.unit} holds ${figure(told.focus.cell_before)}.${edited(told)}`,
  }),
  forget_gate: ({ focus: u }) => ({
    title: `${heading("forget_gate")}: how much to keep`,
    text:
      "A layer of weights that ends in σ, so each of its numbers lies between 0 (wipe) and 1 (keep). " +
      `Unit ${u.unit} keeps ${share(u.forget_gate)} of its cell state at this step.`,
  }),
  kept: ({ focus: u }) => ({
    title: `${formula("kept")}: forgetting is a multiplication`,
    text:
      `Unit ${u.unit} held ${figure(u.cell_before)}. Times ${figure(u.forget_gate)} that leaves ${figure(u.kept)}: ` +
      `${figure(u.cell_before - u.kept)} is forgotten. Each unit is multiplied by its own number, on its own.`,
  }),
  input_gate: ({ focus: u }) => ({
    title: `${heading("input_gate")}: how much to let in`,
    text:
      "A layer that ends in σ, so between 0 (shut) and 1 (open). It filters the candidate: " +
      `unit ${u.unit} lets ${share(u.input_gate)} of it into the cell state.`,
  }),
  candidate: ({ focus: u }) => ({
    title: `${heading("candidate")}: what could be written`,
    text:
      "Many books call it C̃. This layer ends in tanh, between −1 and 1, so that a memory can go down as well " +
      `as up. Unit ${u.unit} proposes ${figure(u.candidate)}.`,
  }),
  written: ({ focus: u }) => ({
    title: `${formula("written")}: what is written`,
    text:
      `The input gate filters the candidate, unit by unit. Unit ${u.unit} proposed ${figure(u.candidate)} and ` +
      `lets ${share(u.input_gate)} of it in: ${figure(u.input_gate)} × ${term(u.candidate)} = ${figure(u.written)}.`,
  }),
  cell: ({ focus: u }) => ({
    title: "+ : the new cell state c",
    text:
      `What was kept and what is written add up: ${figure(u.kept)} + ${term(u.written)} = ${figure(u.cell)} ` +
      `for unit ${u.unit}. No weights and no squashing on this line: that is why a memory can last on it.`,
  }),
  bent: ({ focus: u }) => ({
    title: "tanh, value by value",
    text:
      "No weights here: it only bends each number into the range from −1 to 1, on the way to h; c itself stays " +
      `as it is. Unit ${u.unit}: tanh(${figure(u.cell)}) = ${figure(u.bent)}.`,
  }),
  output_gate: ({ focus: u }) => ({
    title: `${heading("output_gate")}: how much to show`,
    text:
      "A layer that ends in σ. It decides what of the memory is of use now; what it hides is still kept in c. " +
      `Unit ${u.unit} shows ${share(u.output_gate)} of its value.`,
  }),
  shown: ({ focus: u, blocks }) => ({
    title: `${blocks.projected ? "m = " : ""}o ⊗ tanh(c): what is shown`,
    text:
      `Unit ${u.unit}: ${figure(u.output_gate)} × ${term(u.bent)} = ${figure(u.shown)}. ` +
      (blocks.projected
        ? `With all ${blocks.size} it goes through W_hr, which makes the ${blocks.output} numbers of h.`
        : "That is its number in the hidden state h."),
  }),
  projection: ({ blocks }) => ({
    title: heading("projection"),
    text:
      `A matrix of learned weights, without bias or curve: it makes ${count(blocks.output)}, the hidden state ` +
      `h, of the ${blocks.size} that the output gate shows. So here h is shorter than c.`,
  }),
  hidden: ({ focus: u, blocks, goesTo }) => ({
    title: "The new hidden state h: the short-term memory",
    text:
      `What the cell shows now. It goes to the next step that is read, and to ${goesTo}. ` +
      (blocks.projected
        ? `Place ${u.unit} of h is not unit ${u.unit} of c: W_hr has mixed them.`
        : `Unit ${u.unit} holds ${figure(u.cell)} in c and shows ${figure(u.hidden)}.`),
  }),
};

const TOPICS: Record<Topic, (told: Told) => Caption> = {
  states: ({ blocks, focus: u }) => ({
    title: "c and h are vectors: plain lists of numbers",
    text:
      `c, the cell state, has ${count(blocks.size)} and is the long-term memory. h, the hidden state, has ` +
      `${count(blocks.output)} and is the short-term memory: what is shown of c. At this step unit ` +
      `${u.unit} has c = ${figure(u.cell)}` +
      (blocks.projected ? "; h is a mix of what all units show." : ` and h = ${figure(u.hidden)}.`),
  }),
  length: ({ blocks, inputs, focus: u }) => ({
    title: `${blocks.projected ? "c, f, i, g and o have" : "c, h, f, i, g and o all have"} ${count(blocks.size)}`,
    text:
      `They meet place by place, so each needs a partner: place ${u.unit} of f, ${figure(u.forget_gate)}, meets ` +
      `place ${u.unit} of c, ${figure(u.cell_before)}. Such a place is called a unit. ` +
      `The input x may have another length, here ${inputs}` +
      (blocks.projected
        ? `, and so may h after a projection, here ${blocks.output}.`
        : "; the layers turn it into this one."),
  }),
  gates: ({ focus: u }) => ({
    title: "Three gates and a candidate",
    text:
      `Forget gate f: how much of the old c to keep (unit ${u.unit}: ${share(u.forget_gate)}). ` +
      `Candidate g, also C̃: what could be written (${figure(u.candidate)}). ` +
      `Input gate i: how much of it to let in (${share(u.input_gate)}). ` +
      `Output gate o: how much of the new c to show as h (${share(u.output_gate)}).`,
  }),
  pointwise: ({ units }) => ({
    title: "Pointwise operations: a vector in, a vector of the same length out",
    text:
      "⊗ multiplies, + adds, tanh bends, each place on its own and without weights. Here c ⊗ f is " +
      `[${list(units, "cell_before")}] ⊗ [${list(units, "forget_gate")}] = [${list(units, "kept")}].`,
  }),
  layers: ({ blocks, inputs }) => ({
    title: "The four boxes are neural network layers",
    text:
      `Each reads h and x side by side (${blocks.output} + ${inputs} numbers), multiplies them by its own ` +
      `learned weights, adds a bias, and bends each of the ${blocks.size} sums: σ to between 0 and 1, right for ` +
      "a gate; tanh to between −1 and 1, right for content. Only the boxes learn, the circles do not.",
  }),
  forgetting: ({ focus: u }) => ({
    title: "Times 1 keeps all, times 0 wipes it, between forgets in part",
    text:
      `Unit ${u.unit} remembered ${figure(u.cell_before)}. Its forget gate says ${figure(u.forget_gate)}, and ` +
      `${figure(u.forget_gate)} × ${term(u.cell_before)} = ${figure(u.kept)} is left; ` +
      `${figure(u.cell_before - u.kept)} is gone. ` +
      `Were the gate at this number for ten steps, ${share(u.forget_gate ** 10)} would be left.`,
  }),
  two: ({ focus: u }) => ({
    title: "One state cannot both keep and show",
    text:
      "A plain RNN has only h and makes it anew at each step, so what it read long ago is overwritten by what " +
      `it reads now. Here c is never made anew: unit ${u.unit} carries ${share(u.forget_gate)} of its memory on, and ` +
      `may hold ${figure(u.cell)} while it shows ${figure(u.shown)}. Kept and shown need not be the same.`,
  }),
};

/** "Forget gate f". */
function heading(part: Part): string {
  const { name, letter } = CELL[part];
  return `${name[0].toUpperCase()}${name.slice(1)} ${letter}`;
}

/** "c ⊗ f". */
function formula(part: Part): string {
  const { operation, reads } = CELL[part];
  return reads.map((operand) => CELL[operand].letter).join(` ${operation!.sign} `);
}

function origin({ blocks, t }: Told): string {
  if (stepBefore(blocks, t) === null) return "before the first step: the initial state";
  if (blocks.direction === "forward") return "from the step before";
  return "from the previous step read, which stands after this one";
}

function showed({ unit, hidden_before }: UnitStep): string {
  return Number.isNaN(hidden_before) ? "" : `Unit ${unit} showed ${figure(hidden_before)}. `;
}

function edited({ blocks, t, focus }: Told): string {
  const edit = blocks.edits.find((e) => e.t === t && e.unit === focus.unit);
  return edit ? ` Of that, ${figure(edit.added)} was added by hand.` : "";
}

function count(numbers: number): string {
  return plural(numbers, "number");
}

/** A number inside a sum or product: a negative one in brackets. */
function term(value: number): string {
  const text = figure(value);
  return text.startsWith("−") ? `(${text})` : text;
}

function list(units: readonly UnitStep[], name: keyof UnitStep): string {
  return units.map((unit) => figure(unit[name])).join(", ");
}
