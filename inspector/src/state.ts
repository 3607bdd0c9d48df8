// The state of the page. All views read and set it; none keeps a step or a unit of its own.

import { batch, computed, signal } from "@preact/signals";
import type { Quantity } from "./data/quantities";
import { Recording } from "./data/recording";
import type { Source } from "./data/source";
import type { Direction, Entry, Meta } from "./data/types";

export type View = "timeline" | "cell" | "ledger" | "units" | "whatif";
export type Order = "index" | "half_life" | "activity" | "correlation";

/** A part of a recording, as a link names it; absent fields stay as they are. */
export interface Place {
  view?: View;
  quantity?: Quantity;
  order?: Order;
  column?: number;
  each?: boolean;
  row?: number;
  layer?: number;
  direction?: Direction;
  t?: number;
  units?: number[];
  /** Steps from (inclusive) to (exclusive). */
  range?: [number, number];
}

/** Fields of a place that depend on the recording. */
const OF_RECORDING = ["row", "layer", "direction", "t", "units", "range"] as const;
type OfRecording = Pick<Place, (typeof OF_RECORDING)[number]>;

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
  /** The id of the recording that is being loaded; null when the chosen one is shown. */
  readonly wanted = signal<string | null>(null);
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

  /** How often the user has chosen a recording. */
  choices = 0;
  /** Whether the user has chosen a view. */
  viewChosen = false;

  /** Whether `wanted` is the user's choice. */
  private byUser = false;
  private busy = false;
  private loading = Promise.resolve();
  /** The place to go to in the recording that is shown next, and the values of its fields when it was requested. */
  private aim: { place: OfRecording; since: OfRecording } | null = null;
  /** Numbers of the latest request for the entries, and of the one that `entries` come from. */
  private requests = 0;
  private answered = 0;

  constructor(readonly source: Source) {}

  /** Reload the entries, and return the new ones. A response that is older than the known entries is dropped. */
  async refresh(): Promise<Entry[]> {
    const request = ++this.requests;
    const entries = await this.source.entries();
    if (request < this.answered) return [];
    this.answered = request;
    const known = new Set(this.entries.value.map(({ id }) => id));
    this.entries.value = entries;
    return entries.filter(({ id }) => !known.has(id));
  }

  /** Show the recording that the user has chosen. Only the latest choice counts. */
  show(id: string): Promise<void> {
    this.choices++;
    return this.load(id, true);
  }

  /** Show a recording that the user has not chosen, unless one that they have chosen is being loaded. */
  offer(id: string): Promise<void> {
    return this.busy && this.byUser ? this.loading : this.load(id, false);
  }

  /** Choose a view. */
  open(view: View): void {
    this.viewChosen = true;
    this.view.value = view;
  }

  /**
   * Go to a place: at once as far as it needs no recording, and with the recording that is shown next. Fields that the
   * user changes until then keep the user's values.
   */
  aimAt(place: Place): void {
    batch(() => {
      if (place.view && (place.view !== "whatif" || this.source.whatIf)) this.view.value = place.view;
      this.quantity.value = place.quantity ?? this.quantity.value;
      this.order.value = place.order ?? this.order.value;
      this.column.value = place.column ?? this.column.value;
      this.each.value = place.each ?? this.each.value;
    });
    const values = OF_RECORDING.map((name) => [name, this[name].value]);
    this.aim = { place, since: Object.fromEntries(values) as OfRecording };
  }

  private load(id: string, byUser: boolean): Promise<void> {
    this.byUser = byUser;
    this.wanted.value = id;
    if (!this.busy) this.loading = this.loadWanted();
    return this.loading;
  }

  private async loadWanted(): Promise<void> {
    this.busy = true;
    while (this.wanted.value !== null) {
      const id: string = this.wanted.value;
      const shown = this.recording.value;
      try {
        const [recording, baseline] =
          shown?.meta.id === id ? [shown, this.baseline.value] : await this.fetch(id, shown);
        // The user may have returned to the shown recording in the meantime.
        if (this.wanted.value === id || this.wanted.value !== shown?.meta.id) this.arrive(recording, baseline);
      } catch (error) {
        if (this.wanted.value === id) {
          this.trouble.value = error instanceof Error ? error.message : String(error);
          if (shown) this.aim = null;
        }
      }
      if (this.wanted.value === id) this.wanted.value = null;
    }
    this.busy = false;
  }

  /** A recording, and the one that it is compared with. */
  private async fetch(id: string, shown: Recording | null): Promise<[Recording, Recording | null]> {
    const recording = new Recording(this.source, await this.source.meta(id));
    const { origin } = recording.meta;
    if (origin === null) return [recording, null];
    const known = [shown, this.baseline.value].find((other) => other?.meta.id === origin);
    return [recording, known ?? new Recording(this.source, await this.source.meta(origin))];
  }

  /** Show a loaded recording: at the place that was requested, else at the same step, unit and layer if it has them. */
  private arrive(recording: Recording, baseline: Recording | null): void {
    batch(() => {
      const first = this.recording.value === null;
      const { place, since } = this.aim ?? { place: {}, since: {} };
      this.aim = null;
      const due = Object.fromEntries(
        OF_RECORDING.filter((name) => this[name].value === since[name]).map((name) => [name, place[name]]),
      ) as OfRecording;
      if (this.recording.value !== recording) this.trouble.value = "";
      this.recording.value = recording;
      this.baseline.value = baseline;
      this.fit(recording.meta, due, first);
    });
  }

  /** Set what depends on the recording, within its bounds. */
  private fit({ rows, layers }: Meta, place: OfRecording, first: boolean): void {
    this.row.value = Math.min(place.row ?? this.row.value, rows.length - 1);
    this.layer.value = Math.min(place.layer ?? this.layer.value, layers.length - 1);
    const { hidden, directions } = layers[this.layer.value];
    const direction = place.direction ?? this.direction.value;
    this.direction.value = directions.includes(direction) ? direction : directions[0];
    const units = (place.units ?? this.units.value).filter((unit) => unit < hidden);
    this.units.value = units.length ? units : [0];
    const T = rows[this.row.value].steps;
    // Start in the middle, with a past and a future to look at.
    const t = place.t ?? (first ? Math.round((T - 1) / 2) : this.t.value);
    this.t.value = Math.min(t, T - 1);
    if (first || this.range.value[1] > T) this.range.value = [0, T];
    if (place.range) this.zoom(...place.range);
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
