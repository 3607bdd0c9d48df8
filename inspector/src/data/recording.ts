// A recording as the views read it: blocks by name, fetched once, and quantities derived from them.

import { Cell } from "./anatomy";
import { GATES, type Gate } from "./cell";
import { activation, featuresOf } from "./features";
import type { Column } from "./ledger";
import { Measures, type Quantity } from "./quantities";
import type { Numbers, Source } from "./source";
import type { Diagnosis, Direction, Meta } from "./types";

/** What can be had of every unit at every step. */
export type Recorded = Exclude<Quantity, "survival"> | "kept";

export class Recording {
  readonly cell: Cell;
  readonly measures: Measures;
  /** The output activation. */
  readonly bend: (value: number) => number;
  private readonly blocks = new Map<string, Promise<Numbers>>();
  private diagnosed: Promise<Diagnosis> | undefined;

  constructor(
    private readonly source: Source,
    readonly meta: Meta,
  ) {
    const projected = meta.layers.some(({ hidden, output }) => output !== hidden);
    this.cell = new Cell(featuresOf(meta.cell ?? {}), projected);
    this.measures = new Measures(this.cell);
    this.bend = activation(this.cell.features.output_activation);
  }

  /** A block of a row, as `types.ts` lists them. */
  block(row: number, name: string): Promise<Numbers> {
    const key = `${row}/${name}`;
    return this.once(key, () => {
      const shape = this.meta.blocks[row][name];
      if (!shape) return Promise.reject(new Error(`This recording has no "${name}".`));
      return this.source.block(this.meta.id, row, name, shape);
    });
  }

  has(row: number, name: string): boolean {
    return name in this.meta.blocks[row];
  }

  diagnosis(): Promise<Diagnosis> {
    if (!this.diagnosed) {
      this.diagnosed = this.source.diagnosis(this.meta.id);
      this.diagnosed.catch(() => (this.diagnosed = undefined));
    }
    return this.diagnosed;
  }

  /**
   * One quantity of every unit at every step, (T, H); all but `survival`, which depends on a step. `kept` and `write`
   * are the effective factors of the cell state.
   */
  quantity(row: number, layer: number, direction: Direction, quantity: Recorded): Promise<Float32Array> {
    const place = `${layer}/${direction}`;
    const of = (name: string) => this.block(row, `${place}/${name}`) as Promise<Float32Array>;
    const name = quantity === "write" ? "written" : quantity;
    if (this.has(row, `${place}/${name}`)) return of(name);
    const derived = (make: () => Promise<Float32Array>) =>
      this.once(`${row}/${place}/${name}, derived`, make) as Promise<Float32Array>;
    if (quantity === "kept") return of("forget_gate");
    if (quantity === "write")
      return derived(async () => {
        const [i, g] = await Promise.all([of("input_gate"), of("candidate")]);
        return i.map((value, k) => value * g[k]);
      });
    if (quantity === "hidden")
      return derived(async () => {
        const [o, read] = await Promise.all([of("output_gate"), this.read(row, layer, direction)]);
        return o.map((value, k) => value * this.bend(read[k]));
      });
    return of(quantity);
  }

  /** What the output activation reads, (T, H): the cell state, or that normalised. */
  read(row: number, layer: number, direction: Direction): Promise<Float32Array> {
    const normal = `${layer}/${direction}/normal`;
    const name = this.has(row, normal) ? normal : `${layer}/${direction}/cell`;
    return this.block(row, name) as Promise<Float32Array>;
  }

  /** Every gate of every unit at every step, (T, H) each. */
  async gates(row: number, layer: number, direction: Direction): Promise<Record<Gate, Float32Array>> {
    const blocks = await Promise.all(GATES.map((gate) => this.quantity(row, layer, direction, gate)));
    return Object.fromEntries(GATES.map((gate, k) => [gate, blocks[k]])) as Record<Gate, Float32Array>;
  }

  /** Width of a quantity: P for a projected hidden state, else H. */
  width(layer: number, quantity: Quantity): number {
    const shape = this.meta.layers[layer];
    return quantity === "hidden" ? shape.output : shape.hidden;
  }

  /** The input of one unit's ledger. In reverse, step 0 of the column is the last of the sequence. */
  async column(row: number, layer: number, direction: Direction, unit: number): Promise<Column> {
    const H = this.meta.layers[layer].hidden;
    const T = this.meta.rows[row].steps;
    const of = (name: Recorded) => this.quantity(row, layer, direction, name);
    const hasWritten = this.has(row, `${layer}/${direction}/written`);
    const [kept, candidate, input, written] = await Promise.all([
      of("kept"),
      of("candidate"),
      of("input_gate"),
      hasWritten ? of("write") : null,
    ]);
    const initial = (await this.block(row, `${layer}/${direction}/cell_initial`)) as Float32Array;
    const place = (t: number) => (direction === "forward" ? t : T - 1 - t);
    const at = (t: number) => place(t) * H + unit;
    const each = (value: (at: number) => number) => Float64Array.from({ length: T }, (_, t) => value(at(t)));
    const here = this.meta.edits.filter((edit) => edit.row === row && edit.layer === layer && edit.unit === unit);
    const edits = here.filter((edit) => edit.direction === direction);
    return {
      kept: each((k) => kept[k]),
      // In float64 where it is a product: rounding once more would show in the sum.
      written: each((k) => (written ? written[k] : input[k] * candidate[k])),
      input: each((k) => (1 - this.cell.features.zoneout_cell) * input[k]),
      candidate: each((k) => candidate[k]),
      cell_initial: initial[unit],
      added: new Map(edits.map((edit) => [place(edit.t), edit.added])),
    };
  }

  private once(key: string, make: () => Promise<Numbers>): Promise<Numbers> {
    let found = this.blocks.get(key);
    if (!found) {
      found = make();
      // A failed load may be repeated.
      found.catch(() => this.blocks.delete(key));
      this.blocks.set(key, found);
    }
    return found;
  }
}
