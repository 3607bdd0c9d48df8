// The ledger against the recurrence that it splits, c_t = kept_t (c_{t-1} + added_t) + written_t, taken step by step.

import assert from "node:assert/strict";
import { test } from "node:test";
import { activation } from "../src/data/features";
import {
  type Column,
  fate,
  halfLife,
  type Layer,
  ledger,
  type Shown,
  splitOf,
  weighted,
  weightsOf,
} from "../src/data/ledger";
import { close, forAll, type Random } from "./support";

function float64(values: Float32Array): Float64Array {
  return Float64Array.from(values);
}

function column(random: Random, steps: number): Column {
  const added = new Map<number, number>();
  for (let k = 0; k < steps; k++) if (random.next() < 0.2) added.set(k, random.between(-2, 2));
  const [input, candidate] = [float64(random.array(steps, 0, 1)), float64(random.array(steps, -1, 1))];
  return {
    kept: float64(random.array(steps, 0, 1)),
    input,
    candidate,
    written: input.map((i, k) => i * candidate[k]),
    cell_initial: random.between(-3, 3),
    added,
  };
}

const every = (_step: number): boolean => true;

/** The cell state after step t, if only the named sources count. */
function run(unit: Column, t: number, { initial = true, edits = true, write = every } = {}): number {
  let c = initial ? unit.cell_initial : 0;
  for (let k = 0; k <= t; k++) {
    if (edits) c += unit.added.get(k) ?? 0;
    c = unit.kept[k] * c + (write(k) ? unit.written[k] : 0);
  }
  return c;
}

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);

test("a ledger by hand", () => {
  const unit = {
    kept: Float64Array.of(0.5, 0.5, 0.5),
    input: Float64Array.of(1, 0.5, 0.25),
    candidate: Float64Array.of(1, -1, 1),
    written: Float64Array.of(1, -0.5, 0.25),
    cell_initial: 8,
    added: new Map([[1, 4]]),
  };
  const { shares, survival, initial, left, edited } = ledger(unit, 2);
  assert.deepEqual([...shares], [0.25, -0.25, 0.25]);
  assert.deepEqual([...survival], [0.25, 0.5, 1]);
  assert.equal(initial, 1);
  assert.equal(left, 0.125);
  assert.equal(edited, 1);
});

test("each entry is the run in which nothing else is written, and all together are the cell state", () => {
  forAll((random) => {
    const steps = random.whole(1, 30);
    const unit = column(random, steps);
    const t = random.whole(0, steps - 1);
    const { shares, survival, initial, edited } = ledger(unit, t);
    assert.equal(shares.length, t + 1);
    close(sum(shares) + initial + edited, run(unit, t));
    close(initial, run(unit, t, { edits: false, write: () => false }));
    close(edited, run(unit, t, { initial: false, write: () => false }));
    for (let k = 0; k <= t; k++) {
      close(shares[k], run(unit, t, { initial: false, edits: false, write: (j) => j === k }));
      close(shares[k], survival[k] * unit.written[k]);
    }
  });
});

test("where a step keeps one part and fills the rest, c is an average of the candidates", () => {
  forAll((random) => {
    const unit = column(random, random.whole(1, 40));
    unit.input = unit.kept.map((part) => 1 - part);
    unit.written = unit.input.map((part, k) => part * unit.candidate[k]);
    unit.added = new Map();
    const t = random.whole(0, unit.kept.length - 1);
    const made = ledger(unit, t);
    const weights = weightsOf(unit, made);
    assert.ok(weights.every((weight) => weight >= 0));
    close(sum(weights) + made.left, 1);
    close(
      sum(weights.map((weight, k) => weight * unit.candidate[k])) + made.left * unit.cell_initial,
      run(unit, t),
    );
  });
});

test("the fate of a write is its survival at each later step", () => {
  forAll((random) => {
    const unit = column(random, random.whole(1, 30));
    const steps = unit.kept.length;
    const k = random.whole(0, steps - 1);
    const left = fate(unit.kept, k);
    assert.equal(left.length, steps - k);
    for (let t = k; t < steps; t++) close(left[t - k], ledger(unit, t).survival[k]);
  });
});

test("a half-life lies where an exponential fall is at one half", () => {
  forAll((random) => {
    const expected = random.between(0.5, 20);
    const left = Float64Array.from({ length: 60 }, (_, n) => 0.5 ** (n / expected));
    close(halfLife(left)!, expected, 1e-9);
  });
  assert.equal(halfLife(Float64Array.of(1, 0.9, 0.8)), null);
  assert.equal(halfLife(Float64Array.of(1, 0.5)), 1);
  assert.equal(halfLife(Float64Array.of(1, 0.9, 0)), 2);
});

test("a weighted sum of units is the sum of their ledgers", () => {
  forAll((random) => {
    const steps = random.whole(1, 80);
    const H = random.whole(1, 6);
    const units = Array.from({ length: H }, () => column(random, steps));
    // Where it is recorded, it has 32 bits.
    const recorded = random.next() < 0.5;
    if (recorded) for (const unit of units) unit.written = unit.written.map(Math.fround);
    const interleaved = (name: "input" | "kept" | "candidate" | "written") =>
      Float32Array.from({ length: steps * H }, (_, at) => units[at % H][name][Math.floor(at / H)]);
    const added: Layer["added"] = new Map(
      Array.from({ length: steps }, (_, k) => [
        k,
        units.flatMap((unit, u) => (unit.added.has(k) ? [{ unit: u, added: unit.added.get(k)! }] : [])),
      ]),
    );
    const layer: Layer = {
      input_gate: interleaved("input"),
      kept: interleaved("kept"),
      candidate: interleaved("candidate"),
      written: recorded ? interleaved("written") : null,
      cell_initial: Float32Array.from(units, (unit) => unit.cell_initial),
      added,
    };
    const initials = Array.from(layer.cell_initial);
    const weight = Float64Array.from({ length: H }, () => random.between(-2, 2));
    const t = random.whole(0, steps - 1);
    const got = weighted(layer, weight, t);
    const each = units.map((unit, u) => ledger({ ...unit, cell_initial: initials[u] }, t));
    const over = (value: (u: number) => number) => sum(each.map((_, u) => weight[u] * value(u)));
    close(
      got.initial,
      over((u) => each[u].initial),
      1e-10,
    );
    close(
      got.edited,
      over((u) => each[u].edited),
      1e-10,
    );
    for (let k = 0; k <= t; k++)
      close(
        got.shares[k],
        over((u) => each[u].shares[k]),
        1e-10,
      );
  });
});

test("a unit that forgets everything is dropped without a trace, and a dead one costs nothing", () => {
  const steps = 200;
  const layer: Layer = {
    input_gate: new Float32Array(steps * 2).fill(1),
    candidate: new Float32Array(steps * 2).fill(1),
    // Unit 0 forgets at once, unit 1 keeps everything.
    kept: Float32Array.from({ length: steps * 2 }, (_, at) => at % 2),
    written: null,
    cell_initial: Float32Array.of(5, 7),
    added: new Map(),
  };
  const { shares, initial } = weighted(layer, Float64Array.of(1, 1), steps - 1);
  assert.equal(shares[steps - 1], 2);
  assert.ok(shares.subarray(0, steps - 1).every((share) => share === 1));
  assert.equal(initial, 7);
});

test("factors of c and the rest make a readout exact, for every way from c to h", () => {
  forAll((random) => {
    const H = random.whole(1, 8);
    const weight = random.array(H, -2, 2);
    const name = (["tanh", "hard_tanh", "identity"] as const)[random.whole(0, 2)];
    const cell = random.array(H, -4, 4);
    cell[0] = 0;
    const step: Shown = {
      output_gate: random.array(H, 0, 1),
      cell,
      normal: null,
      scale: null,
      activation: activation(name),
      zoneout: random.next() < 0.5 ? 0 : 0.25,
      hidden_before: random.array(H, -1, 1),
    };
    const mean = sum(cell) / H;
    if (random.next() < 0.5) {
      const shift = random.array(H, -1, 1);
      const scale = random.array(H, 0.5, 2);
      step.scale = scale;
      step.normal = Float64Array.from(scale, (factor, u) => factor * (cell[u] - mean) + shift[u]);
    }
    const read = (u: number) => (step.normal ?? cell)[u];
    const bent = (u: number) =>
      name === "tanh" ? Math.tanh(read(u)) : name === "identity" ? read(u) : Math.min(1, Math.max(-1, read(u)));
    const hidden = (u: number) =>
      step.zoneout * step.hidden_before[u] + (1 - step.zoneout) * step.output_gate[u] * bent(u);
    const { factors, rest } = splitOf(weight, step);
    const direct = sum(Array.from(weight, (w, u) => w * hidden(u)));
    close(sum(Array.from(factors, (value, u) => value * cell[u])) + rest, direct, 1e-10);
    // A plain cell: the secant through tanh, whose slope at 0 is 1.
    if (!step.scale && !step.zoneout) {
      assert.equal(rest, 0);
      close(factors[0], weight[0] * step.output_gate[0]);
    }
  });
});
