// The caption of each part, with the numbers of the unit in focus.

import { CELL, type Part } from "../../data/cell";
import { plural } from "../../format";
import { figure, share } from "./figures";
import type { Spot, Topic } from "./parts";
import { type Blocks, stepBefore, type UnitStep } from "./scene";

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

function resting({ focus: u }: Facts): Caption {
  return {
    title: "One step of an LSTM",
    text:
      "An LSTM keeps two states. The cell state c (top) is the long-term memory: each step only scales it and adds " +
      "to it. The hidden state h (bottom) is the short-term memory: the part of c that the cell shows now. " +
      `Unit ${u.unit} held ${figure(u.cell_before)}; its forget gate keeps ${share(u.forget_gate)} of it, the step ` +
      `writes ${figure(u.written)}, and it now holds ${figure(u.cell)} and shows ${figure(u.shown)}. ` +
      "Point at a part, or choose a question above.",
  };
}

const PARTS: Record<Part, (facts: Facts) => Caption> = {
  input: ({ inputs, reads, t }) => ({
    title: `${heading("input")}: the input of this step`,
    text: `At step ${t} the layer reads ${reads}: ${count(inputs)}. All four layers read them together with h.`,
  }),
  hidden_before: (facts) => ({
    title: `${heading("hidden_before")} before the step: the short-term memory`,
    text:
      `The visible part of the memory ${origin(facts)}: ${count(facts.blocks.output)}. ${showed(facts.focus)}` +
      "The four layers read only this and the input x.",
  }),
  cell_before: (facts) => ({
    title: `${heading("cell_before")} before the step: the long-term memory`,
    text:
      `The memory ${origin(facts)}: ${count(facts.blocks.size)}, one for each unit. ` +
      `Unit ${facts.focus.unit} holds ${figure(facts.focus.cell_before)}.${edited(facts)}`,
  }),
  forget_gate: ({ focus: u }) => ({
    title: `${heading("forget_gate")}: how much to keep`,
    text:
      "A layer of weights with the activation σ, so each of its numbers lies between 0 (forget) and 1 (keep). " +
      `Unit ${u.unit} keeps ${share(u.forget_gate)} of its cell state at this step.`,
  }),
  kept: ({ focus: u }) => ({
    title: `${formula("kept")}: forgetting is a multiplication`,
    text:
      `Unit ${u.unit} held ${figure(u.cell_before)}. Times ${figure(u.forget_gate)} that leaves ${figure(u.kept)}: ` +
      `${figure(u.cell_before - u.kept)} is forgotten. Each unit has a gate of its own.`,
  }),
  input_gate: ({ focus: u }) => ({
    title: `${heading("input_gate")}: how much to let in`,
    text:
      "A layer with the activation σ, so between 0 (closed) and 1 (open). It filters the candidate: " +
      `unit ${u.unit} lets ${share(u.input_gate)} of it into the cell state.`,
  }),
  candidate: ({ focus: u }) => ({
    title: `${heading("candidate")}: what could be written`,
    text:
      "Many books call it C̃. A layer with the activation tanh, between −1 and 1, so that c can go down as well " +
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
      `for unit ${u.unit}. No weights and no squashing on this line: that is why a memory can last.`,
  }),
  bent: ({ focus: u }) => ({
    title: "tanh, value by value",
    text:
      "No weights: tanh only squashes each number into the range from −1 to 1 on the way to h; c itself stays " +
      `as it is. Unit ${u.unit}: tanh(${figure(u.cell)}) = ${figure(u.bent)}.`,
  }),
  output_gate: ({ focus: u }) => ({
    title: `${heading("output_gate")}: how much to show`,
    text:
      "A layer with the activation σ. It decides how much of the memory is shown now; what it hides stays in c. " +
      `Unit ${u.unit} shows ${share(u.output_gate)} of tanh(c).`,
  }),
  shown: ({ focus: u, blocks }) => ({
    title: `${blocks.projected ? "m = " : ""}o ⊗ tanh(c): what is shown`,
    text:
      `Unit ${u.unit}: ${figure(u.output_gate)} × ${term(u.bent)} = ${figure(u.shown)}. ` +
      (blocks.projected
        ? `W_hr computes the ${blocks.output} numbers of h from all ${blocks.size} such numbers.`
        : "That is its value in the hidden state h."),
  }),
  projection: ({ blocks }) => ({
    title: heading("projection"),
    text:
      `A matrix of learned weights, without bias or activation: it computes the hidden state ` +
      `h, ${count(blocks.output)}, from the ${blocks.size} that the output gate shows. So h is shorter than c here.`,
  }),
  hidden: ({ focus: u, blocks, goesTo }) => ({
    title: "The new hidden state h: the short-term memory",
    text:
      `What the cell shows now. It goes to the next step and to ${goesTo}. ` +
      (blocks.projected
        ? `Place ${u.unit} of h is not unit ${u.unit} of c: W_hr mixes all units.`
        : `Unit ${u.unit} holds ${figure(u.cell)} in c and shows ${figure(u.hidden)}.`),
  }),
};

const TOPICS: Record<Topic, (facts: Facts) => Caption> = {
  states: ({ blocks, focus: u }) => ({
    title: "c and h are vectors: plain lists of numbers",
    text:
      `c, the cell state, has ${count(blocks.size)} and is the long-term memory. h, the hidden state, has ` +
      `${count(blocks.output)} and is the short-term memory: the visible part of c. At this step unit ` +
      `${u.unit} has c = ${figure(u.cell)}` +
      (blocks.projected ? "; h is a mix of all units." : ` and h = ${figure(u.hidden)}.`),
  }),
  length: ({ blocks, inputs, focus: u }) => ({
    title: `${blocks.projected ? "c, f, i, g and o have" : "c, h, f, i, g and o all have"} ${count(blocks.size)}`,
    text:
      `The operations work place by place: place ${u.unit} of f, ${figure(u.forget_gate)}, is paired with ` +
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
      "⊗ multiplies, + adds and tanh squashes, each place separately and without weights. Here c ⊗ f is " +
      `[${list(units, "cell_before")}] ⊗ [${list(units, "forget_gate")}] = [${list(units, "kept")}].`,
  }),
  layers: ({ blocks, inputs }) => ({
    title: "The four boxes are neural network layers",
    text:
      `Each reads h and x, concatenated (${blocks.output} + ${inputs} numbers), multiplies them by its own ` +
      `learned weights, adds a bias, and squashes each of the ${blocks.size} sums: σ to between 0 and 1, for ` +
      "a gate; tanh to between −1 and 1, for content. Only the boxes have weights; the circles have none.",
  }),
  forgetting: ({ focus: u }) => ({
    title: "Times 1 keeps everything, times 0 forgets everything, between forgets a part",
    text:
      `Unit ${u.unit} remembered ${figure(u.cell_before)}. Its forget gate is ${figure(u.forget_gate)}, and ` +
      `${figure(u.forget_gate)} × ${term(u.cell_before)} = ${figure(u.kept)} is left; ` +
      `${figure(u.cell_before - u.kept)} is gone. ` +
      `If the gate stayed at this value for ten steps, ${share(u.forget_gate ** 10)} would be left.`,
  }),
  two: ({ focus: u }) => ({
    title: "One state cannot both keep and show",
    text:
      "A plain RNN has only h and computes it anew at each step, so new input overwrites what it read long " +
      `ago. Here c is never computed anew: unit ${u.unit} keeps ${share(u.forget_gate)} of its memory, and ` +
      `may hold ${figure(u.cell)} while it shows ${figure(u.shown)}. What it keeps and what it shows may differ.`,
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
