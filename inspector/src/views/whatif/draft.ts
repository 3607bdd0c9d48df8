// The changes as the form has them, and their translation into a request.

import { signal } from "@preact/signals";
import type { Cell } from "../../data/anatomy";
import type { Gate } from "../../data/cell";
import type { Recording } from "../../data/recording";
import type { WhatIf } from "../../data/types";
import type { State } from "../../state";
import { unitsOf, unitsText } from "../../units";

/** A gate held at a value over some steps, the last one included; "" for the ends of the sequence. */
export interface Clamp {
  kind: "clamp";
  gate: Gate;
  units: string;
  value: string;
  first: string;
  last: string;
}

/** Units whose hidden state is zero throughout. */
export interface Ablate {
  kind: "ablate";
  units: string;
}

/** The cell state at the start of step `t`. */
export interface Edit {
  kind: "edit";
  units: string;
  value: string;
  t: string;
}

export type Change = Clamp | Ablate | Edit;

export interface Preset {
  name: string;
  says: string;
  change: Change;
}

/** Examples for the chosen step and units; the last unit has the focus. */
export function presets(cell: Cell, t: number, units: readonly number[]): Preset[] {
  const unit = units[units.length - 1];
  const several = units.length > 1;
  const clamp = { kind: "clamp" as const, units: "all", first: "", last: "" };
  const here = String(t);
  const [f, i] = [cell.parts.forget_gate, cell.parts.input_gate];
  const coupled = cell.features.coupled || cell.features.kind === "slstm";
  const all: (Preset & { needs?: Gate })[] = [
    {
      needs: "forget_gate",
      name: `Close unit ${unit}'s ${f.name} at step ${t}`,
      says: "Holds the gate at 0 for this one step: the unit forgets what it held.",
      change: { ...clamp, gate: "forget_gate", units: String(unit), value: "0", first: here, last: here },
    },
    {
      name: `Forget everything at step ${t}`,
      says: "Sets the cell state of all units to 0 before the step.",
      change: { kind: "edit", units: "all", value: "0", t: here },
    },
    {
      needs: "forget_gate",
      name: "Never forget",
      says: `Holds the ${f.name} of all units at 1: everything is kept${coupled ? ", and nothing new is written" : ""}.`,
      change: { ...clamp, gate: "forget_gate", value: "1" },
    },
    {
      needs: "input_gate",
      name: `Close the ${i.name} from step ${t} on`,
      says: `Holds the ${i.name} of all units at 0: nothing new is written.`,
      change: { ...clamp, gate: "input_gate", value: "0", first: here },
    },
    {
      name: several ? `Ablate the ${units.length} chosen units` : `Ablate unit ${unit}`,
      says: `Holds ${several ? "their hidden states" : "its hidden state"} at 0, so that nothing reads ${several ? "them" : "it"}.`,
      change: { kind: "ablate", units: unitsText(units) },
    },
  ];
  return all
    .filter(({ needs }) => !needs || cell.holdable.includes(needs))
    .map(({ name, says, change }) => ({ name, says, change }));
}

/** The part of the recording that is changed. */
export interface Place {
  row: number;
  layer: number;
  direction: WhatIf["direction"];
  cell: Cell;
  /** H and T. */
  hidden: number;
  steps: number;
}

/** The request to the server; throws an error of one sentence where the form is invalid. */
export function askedFor(
  changes: readonly Change[],
  { row, layer, direction, cell, hidden, steps }: Place,
): WhatIf {
  if (!changes.length) throw new Error("Add a change first: hold a gate, ablate units or set the cell state.");
  const asked: WhatIf = { row, layer, direction, clamp: [], ablate: [], edit_cell: [] };
  for (const change of changes) {
    const units = unitsOf(change.units, hidden);
    if (change.kind === "clamp") {
      const first = stepOf(change.first, steps, 0);
      const last = stepOf(change.last, steps, steps - 1);
      if (last < first) throw new Error(`The last step, ${last}, is before the first, ${first}: swap them.`);
      asked.clamp.push({
        gate: change.gate,
        units,
        value: gateValue(cell, change.value, change.gate),
        first,
        end: last + 1,
      });
    } else if (change.kind === "edit") {
      asked.edit_cell.push({ t: stepOf(change.t, steps, 0), units, value: numberOf(change.value, "cell state") });
    } else {
      asked.ablate = [...new Set([...asked.ablate, ...units])].sort((a, b) => a - b);
    }
  }
  return asked;
}

function stepOf(text: string, steps: number, otherwise: number): number {
  if (!text.trim()) return otherwise;
  const step = Number(text);
  if (!Number.isInteger(step)) throw new Error(`“${text}” is not a step: write a whole number.`);
  if (step < 0 || step >= steps)
    throw new Error(`There is no step ${step}: this sequence has steps 0 to ${steps - 1}.`);
  return step;
}

function gateValue(cell: Cell, text: string, gate: Gate): number {
  const { name } = cell.parts[gate];
  const value = numberOf(text, name);
  const [low, high] = cell.limits(gate);
  if (value < low || value > high) {
    throw new Error(
      `The ${name} lies between ${low} and ${high}: it cannot be held at ${value}.`.replaceAll("-", "−"),
    );
  }
  return value;
}

function numberOf(text: string, what: string): number {
  const value = Number(text.replace("−", "-"));
  if (!text.trim() || !Number.isFinite(value)) throw new Error(`Give the ${what} a number, not “${text}”.`);
  return value;
}

/** The content of the form; it is kept when the user leaves the view and returns. */
export class Draft {
  readonly changes = signal<Change[]>([]);
  readonly running = signal(false);
  /** An error of the form or from the server; "" without one. */
  readonly trouble = signal("");
  /** The request of each recording that was made here. */
  readonly answers = new Map<string, WhatIf>();

  constructor(private readonly state: State) {}

  /** The recording that changes apply to: always the unchanged one. */
  get original(): Recording | null {
    return this.state.baseline.value ?? this.state.recording.value;
  }

  async run(): Promise<void> {
    const { state, original } = this;
    if (!original || !state.source.whatIf || this.running.value) return;
    this.trouble.value = "";
    try {
      const [row, layer, direction] = [state.row.value, state.layer.value, state.direction.value];
      const { hidden } = original.meta.layers[layer];
      const place = { row, layer, direction, cell: original.cell, hidden, steps: original.meta.rows[row].steps };
      const asked = askedFor(this.changes.value, place);
      this.running.value = true;
      const { choices } = state;
      const id = await state.source.whatIf(original.meta.id, asked);
      this.answers.set(id, asked);
      // The result is listed in any case; a recording that the user has chosen in the meantime stays in view.
      if (state.choices === choices) await state.show(id);
      await state.refresh();
    } catch (error) {
      this.trouble.value = error instanceof Error ? error.message : String(error);
    } finally {
      this.running.value = false;
    }
  }
}

const drafts = new WeakMap<State, Draft>();

export function draftOf(state: State): Draft {
  let draft = drafts.get(state);
  if (!draft) {
    draft = new Draft(state);
    drafts.set(state, draft);
  }
  return draft;
}
