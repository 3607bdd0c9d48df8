// Which parts a cell has, and how they are connected.

import {
  absentOf,
  type CellPart,
  GATES,
  type Gate,
  type NumberedPart,
  PARTS,
  type Part,
  type Switch,
  table,
} from "./cell";
import { type Features, PLAIN } from "./features";

/** What stands in the place of a part that a cell does not have: what it would be computed from. */
const STANDS_FOR: Partial<Record<Part, Part>> = {
  kept: "cell_before",
  written: "candidate",
  normal: "cell",
  bent: "normal",
  shown: "bent",
};

export class Cell {
  /** All parts; those that the cell does not have, too. */
  readonly parts: Readonly<Record<Part, CellPart>>;
  /** The parts that it has, in the order in which a step computes them, and of these the pointwise operations. */
  readonly present: readonly Part[];
  readonly operations: readonly NumberedPart[];
  /** The gates that it has, the one that follows from another included; of these the ones that open and close. */
  readonly gates: readonly Gate[];
  readonly switches: readonly Switch[];
  /** The gates that a user may hold. */
  readonly holdable: readonly Gate[];
  /** The part that is h, or that the projection or zoneout reads. */
  readonly end: NumberedPart;

  /** `projected`: whether h is a projection. */
  constructor(
    readonly features: Features,
    readonly projected = false,
  ) {
    const absent = absentOf(features, projected);
    this.present = PARTS.filter((part) => !absent.has(part));
    const resolved = (part: Part) => this.standIn(part);
    const all = table(features);
    this.end = resolved("shown") as NumberedPart;
    this.parts = Object.fromEntries(
      PARTS.map((part) => {
        const reads = all[part].reads.filter((read) => !absent.has(read) || STANDS_FOR[read]).map(resolved);
        return [part, { ...all[part], reads: [...new Set(reads)] }];
      }),
    ) as unknown as Record<Part, CellPart>;
    this.operations = this.present.filter((part) => this.parts[part].operation) as NumberedPart[];
    this.gates = GATES.filter((gate) => this.has(gate));
    this.switches = this.gates.filter((gate) => gate !== "candidate") as Switch[];
    this.holdable = this.gates.filter((gate) => !this.parts[gate].operation);
  }

  /** The part itself, or what stands in its place where the cell does not have it. */
  standIn(part: Part): Part {
    const other = STANDS_FOR[part];
    return this.has(part) || !other ? part : this.standIn(other);
  }

  has(part: Part): boolean {
    return this.present.includes(part);
  }

  get name(): "LSTM" | "sLSTM" {
    return this.features.kind === "slstm" ? "sLSTM" : "LSTM";
  }

  /** Whether its equations are those of the plain LSTM. */
  get isPlain(): boolean {
    const { bias: _, proj_size: __, ...plain } = PLAIN;
    return Object.entries(plain).every(([name, value]) => this.features[name as keyof Features] === value);
  }

  /** The result of an operation from the numbers of its operands. */
  computed(part: NumberedPart, numbers: Partial<Record<Part, number>>): number {
    const { operation, reads } = this.parts[part];
    const [a, b] = reads.map((operand) => numbers[operand] ?? NaN);
    return operation ? operation.compute(a, b) : NaN;
  }

  /** The parts that read a part. */
  fedBy(part: Part): Part[] {
    return this.present.filter((other) => this.parts[other].reads.includes(part));
  }

  /**
   * The parts that stay bright while one is pointed at: for an operation or the projection those that it reads, for
   * all others those that read it. The last operation and `hidden` are the two ends of one line and stay bright
   * together.
   */
  neighbours(part: Part): Part[] {
    const { operation, reads } = this.parts[part];
    const computedGate = operation && (GATES as readonly Part[]).includes(part);
    const near =
      part === "hidden" || part === "projection" || operation
        ? [...reads, ...(computedGate ? this.fedBy(part) : [])]
        : this.fedBy(part);
    if (this.parts.hidden.operation) return [...new Set(near)];
    const more =
      part === "hidden"
        ? this.parts[this.end].reads
        : part === this.end || near.includes(this.end)
          ? ["hidden" as const]
          : [];
    return [...new Set([...near, ...more])];
  }

  /** The minimum and the maximum of a gate; infinite where there is none. */
  limits(gate: Gate): [number, number] {
    const { range } = this.parts[gate];
    return range === "share" ? [0, 1] : range === "signed" ? [-1, 1] : [-Infinity, Infinity];
  }

  /** "c ⊗ f": the formula of an operation, with the letters of its operands. */
  formula(part: Part): string {
    const { operation, reads } = this.parts[part];
    if (!operation) return this.parts[part].letter;
    const [before, between, after] = operation.around;
    const letters = reads.map((operand) => this.parts[operand].letter);
    return before + letters.join(between) + after;
  }
}
