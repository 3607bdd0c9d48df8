// A recording as the views read it: blocks by name, fetched once, and quantities derived from them.

import { GATES, type Gate, type Quantity } from "./cell";
import type { Column } from "./ledger";
import type { Numbers, Source } from "./source";
import type { Diagnosis, Direction, Meta } from "./types";

export class Recording {
  private readonly blocks = new Map<string, Promise<Numbers>>();
  private diagnosed: Promise<Diagnosis> | undefined;

  constructor(
    private readonly source: Source,
    readonly meta: Meta,
  ) {}

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

  /** One quantity of every unit at every step, (T, H); all but `survival`, which depends on a step. */
  quantity(
    row: number,
    layer: number,
    direction: Direction,
    quantity: Exclude<Quantity, "survival">,
  ): Promise<Float32Array> {
    const of = (name: string) => this.block(row, `${layer}/${direction}/${name}`) as Promise<Float32Array>;
    if (quantity === "write") {
      return this.once(`${row}/${layer}/${direction}/write`, async () => {
        const [i, g] = await Promise.all([of("input_gate"), of("candidate")]);
        return i.map((value, k) => value * g[k]);
      }) as Promise<Float32Array>;
    }
    if (quantity === "hidden" && !this.has(row, `${layer}/${direction}/hidden`)) {
      return this.once(`${row}/${layer}/${direction}/shown`, async () => {
        const [o, c] = await Promise.all([of("output_gate"), of("cell")]);
        return o.map((value, k) => value * Math.tanh(c[k]));
      }) as Promise<Float32Array>;
    }
    return of(quantity);
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
    const [i, f, g] = await Promise.all(
      (["input_gate", "forget_gate", "candidate"] as const).map((gate) =>
        this.quantity(row, layer, direction, gate),
      ),
    );
    const initial = (await this.block(row, `${layer}/${direction}/cell_initial`)) as Float32Array;
    const place = (t: number) => (direction === "forward" ? t : T - 1 - t);
    const of = (array: Float32Array) => Float32Array.from({ length: T }, (_, t) => array[place(t) * H + unit]);
    const here = this.meta.edits.filter((edit) => edit.row === row && edit.layer === layer && edit.unit === unit);
    const edits = here.filter((edit) => edit.direction === direction);
    return {
      input_gate: of(i),
      forget_gate: of(f),
      candidate: of(g),
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
