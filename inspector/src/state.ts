// The state of the page. All views read and set it; none keeps a step or a unit of its own.

import { batch, computed, signal } from "@preact/signals";
import type { Quantity } from "./data/cell";
import { Recording } from "./data/recording";
import type { Source } from "./data/source";
import type { Direction, Entry } from "./data/types";

export type View = "timeline" | "cell" | "ledger" | "units" | "whatif";
export type Order = "index" | "half_life" | "activity" | "correlation";

/** A figure for each unit; null where a unit has none. */
export type Figures = (number | null)[];

export interface Sorted {
  order: Order;
  /** The column of the correlations, if the figures are correlations. */
  column: number;
  /** Units from the top. */
  units: number[];
  /** The figures that units are sorted by; by index their half-lives, for display only. Null if unknown. */
  figures: Figures | null;
}

export class State {
  readonly view = signal<View>("timeline");
  readonly entries = signal<Entry[]>([]);
  /** Whether the entries have been loaded for the first time. */
  readonly asked = signal(false);
  /** The shown recording; null until it is loaded. */
  readonly recording = signal<Recording | null>(null);
  /** The recording that a "what if" is compared with, or null. */
  readonly baseline = signal<Recording | null>(null);
  /** An error message; "" without one. */
  readonly trouble = signal("");
  /** Incremented to repeat all loads that failed. */
  readonly attempt = signal(0);

  readonly row = signal(0);
  readonly layer = signal(0);
  readonly direction = signal<Direction>("forward");
  /** The chosen step. */
  readonly t = signal(0);
  /** The chosen units, at least one; the last one is the one in focus. */
  readonly units = signal<number[]>([0]);
  readonly quantity = signal<Quantity>("cell");
  /** Steps in sight, from (inclusive) to (exclusive); not whole numbers while zooming. */
  readonly range = signal<[number, number]>([0, 1]);
  readonly order = signal<Order>("half_life");
  /** Whether each unit has a colour scale of its own, up to its maximum. */
  readonly each = signal(false);
  /** Index of the column of the block `columns` or `inputs` that units are sorted by, where `order` says so. */
  readonly column = signal(0);
  /** The shown target of a forecaster, and how many steps before each step the shown forecast was made. */
  readonly target = signal(0);
  readonly lead = signal(1);
  /** Names of the columns with a panel of their own in the Timeline; null before any choice. */
  readonly tracks = signal<string[] | null>(null);
  readonly theme = signal<"light" | "dark" | "auto">("auto");
  /** Whether the page is dark; set by theme.ts. */
  readonly dark = signal(false);
  /** The units sorted by `order`; set by order.ts. Null until that is known. */
  readonly sorted = signal<Sorted | null>(null);
  /** Whether the overlay that explains views and keys is open. */
  readonly help = signal(false);
  /** The step whose ledger is pinned while `t` moves; null: the ledger is that of `t`. */
  readonly held = signal<number | null>(null);
  /** What the ledger splits: an output of the head by index, the true or the likeliest next symbol; null: c. */
  readonly readout = signal<number | "came" | "likely" | null>(null);

  /** Units from the top, as the heat-map shows them. */
  readonly shown = computed(() => this.sorted.value?.units ?? []);
  readonly unit = computed(() => this.units.value[this.units.value.length - 1]);
  readonly steps = computed(() => this.recording.value?.meta.rows[this.row.value]?.steps ?? 1);
  readonly shape = computed(() => this.recording.value?.meta.layers[this.layer.value] ?? null);

  constructor(readonly source: Source) {}

  /** Show a recording; keep step, unit and layer where it has them. */
  async show(id: string): Promise<void> {
    const known = this.recording.value;
    if (known?.meta.id === id) return;
    try {
      const recording = new Recording(this.source, await this.source.meta(id));
      const origin = recording.meta.origin;
      const baseline =
        origin === null
          ? null
          : known?.meta.id === origin
            ? known
            : this.baseline.value?.meta.id === origin
              ? this.baseline.value
              : new Recording(this.source, await this.source.meta(origin));
      batch(() => {
        this.recording.value = recording;
        this.baseline.value = baseline;
        this.trouble.value = "";
        this.row.value = Math.min(this.row.value, recording.meta.rows.length - 1);
        this.layer.value = Math.min(this.layer.value, recording.meta.layers.length - 1);
        const shape = recording.meta.layers[this.layer.value];
        if (!shape.directions.includes(this.direction.value)) this.direction.value = shape.directions[0];
        const kept = this.units.value.filter((unit) => unit < shape.hidden);
        this.units.value = kept.length ? kept : [0];
        const T = recording.meta.rows[this.row.value].steps;
        // Start in the middle, with a past and a future to look at.
        this.t.value = known || this.t.value ? Math.min(this.t.value, T - 1) : Math.round((T - 1) / 2);
        if (!known || this.range.value[1] > T) this.range.value = [0, T];
      });
    } catch (error) {
      this.trouble.value = error instanceof Error ? error.message : String(error);
    }
  }

  /** Repeat all loads that failed. */
  retry(): void {
    batch(() => {
      this.trouble.value = "";
      this.attempt.value++;
    });
  }

  /** Go to a step, and bring it into sight. */
  goTo(t: number): void {
    const T = this.steps.value;
    const step = Math.max(0, Math.min(T - 1, Math.round(t)));
    const [from, to] = this.range.value;
    batch(() => {
      this.t.value = step;
      if (step < from || step >= to) {
        const width = to - from;
        const first = Math.max(0, Math.min(T - width, step - width / 2));
        this.range.value = [first, first + width];
      }
    });
  }

  /** Show the steps from a to b, within the sequence and never fewer than eight. */
  zoom(a: number, b: number): void {
    const T = this.steps.value;
    const width = Math.min(T, Math.max(8, b - a));
    const first = Math.max(0, Math.min(T - width, (a + b - width) / 2));
    this.range.value = [first, first + width];
  }
}
