// The ledger against the recurrence that it splits, c_t = f_t (c_{t-1} + added_t) + i_t g_t, taken step by step.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Column, fate, halfLife, type Layer, ledger, secant, weighted } from "../src/data/ledger";
import { close, forAll, type Random } from "./support";

function column(random: Random, steps: number): Column {
  const added = new Map<number, number>();
  for (let k = 0; k < steps; k++) if (random.next() < 0.2) added.set(k, random.between(-2, 2));
  return {
    input_gate: random.array(steps, 0, 1),
    forget_gate: random.array(steps, 0, 1),
    candidate: random.array(steps, -1, 1),
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
    c = unit.forget_gate[k] * c + (write(k) ? unit.input_gate[k] * unit.candidate[k] : 0);
  }
  return c;
}

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);

test("a ledger by hand", () => {
  const unit = {
    input_gate: Float32Array.of(1, 0.5, 0.25),
    forget_gate: Float32Array.of(0.5, 0.5, 0.5),
    candidate: Float32Array.of(1, -1, 1),
    cell_initial: 8,
    added: new Map([[1, 4]]),
  };
  const { shares, survival, initial, edited } = ledger(unit, 2);
  assert.deepEqual([...shares], [0.25, -0.25, 0.25]);
  assert.deepEqual([...survival], [0.25, 0.5, 1]);
  assert.equal(initial, 1);
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
      close(shares[k], survival[k] * unit.input_gate[k] * unit.candidate[k]);
    }
  });
});

test("the fate of a write is its survival at each later step", () => {
  forAll((random) => {
    const unit = column(random, random.whole(1, 30));
    const steps = unit.forget_gate.length;
    const k = random.whole(0, steps - 1);
    const left = fate(unit.forget_gate, k);
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
    const interleaved = (name: "input_gate" | "forget_gate" | "candidate") =>
      Float32Array.from({ length: steps * H }, (_, at) => units[at % H][name][Math.floor(at / H)]);
    const added: Layer["added"] = new Map(
      Array.from({ length: steps }, (_, k) => [
        k,
        units.flatMap((unit, u) => (unit.added.has(k) ? [{ unit: u, added: unit.added.get(k)! }] : [])),
      ]),
    );
    const layer: Layer = {
      input_gate: interleaved("input_gate"),
      forget_gate: interleaved("forget_gate"),
      candidate: interleaved("candidate"),
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
    forget_gate: Float32Array.from({ length: steps * 2 }, (_, at) => at % 2),
    cell_initial: Float32Array.of(5, 7),
    added: new Map(),
  };
  const { shares, initial } = weighted(layer, Float64Array.of(1, 1), steps - 1);
  assert.equal(shares[steps - 1], 2);
  assert.ok(shares.subarray(0, steps - 1).every((share) => share === 1));
  assert.equal(initial, 7);
});

test("the secant makes a readout exact, also at a cell state of 0", () => {
  forAll((random) => {
    const H = random.whole(1, 8);
    const weight = random.array(H, -2, 2);
    const output = random.array(H, 0, 1);
    const cell = random.array(H, -4, 4);
    cell[0] = 0;
    const slope = secant(weight, output, cell);
    const direct = sum(Array.from(weight, (w, u) => w * output[u] * Math.tanh(cell[u])));
    close(sum(Array.from(slope, (value, u) => value * cell[u])), direct);
    close(slope[0], weight[0] * output[0]);
  });
});
