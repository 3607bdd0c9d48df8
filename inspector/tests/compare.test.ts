// Two runs against what is computed from their blocks one by one.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Meta } from "../src/data/types";
import { compare, largest, meanErrors, type Run, topSymbols } from "../src/views/whatif/compare";
import { close, forAll, type Random } from "./support";

const LOOK = { target: 0, lead: 1, output: 0 };

function text(random: Random, T: number, symbols: string[]): Run {
  const scores = Array.from({ length: T }, () => {
    const weights = Array.from(symbols, () => random.between(0.01, 1));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => Math.log(weight / total));
  });
  const meta = { kind: "text", text: { symbols } } as unknown as Meta;
  const error = random.array(T, 0, 4);
  error[0] = NaN;
  return {
    meta,
    row: 0,
    error,
    prediction: Float32Array.from(scores.flat()),
    table: null,
    symbols: new Int32Array(T),
  };
}

test("texts: the error of each character, and the share of probability that moved", () => {
  forAll((random) => {
    const symbols = ["□", "a", "b", "c"];
    const T = random.whole(2, 20);
    const [before, after] = [text(random, T, symbols), text(random, T, symbols)];
    const got = compare(before, after, LOOK);
    assert.equal(got.before[0], null);
    assert.equal(got.difference![0], null);
    for (let t = 1; t < T; t++) close(got.difference![t]!, after.error![t] - before.error![t]);
    for (let t = 0; t < T; t++) {
      const p = (run: Run, k: number) => Math.exp(run.prediction[t * 4 + k]);
      // What moved is also what all symbols that gained have gained.
      const gained = symbols.reduce((sum, _, k) => sum + Math.max(0, p(after, k) - p(before, k)), 0);
      close(got.change!.values[t]!, gained, 1e-6);
    }
    close(compare(before, before, LOOK).change!.values as number[], new Float64Array(T));
  });
});

test("series: what was forecast some steps before, its truth and the size of the change", () => {
  const series = { targets: ["a", "b"], columns: ["a", "b", "x"], horizon: 2, quantiles: [0.1, 0.5, 0.9] };
  const meta = { kind: "series", series } as unknown as Meta;
  const T = 4;
  // Forecast made at t, k steps ahead, of a target, at a quantile: a number that says all four.
  const forecast = (sign: number) =>
    Float32Array.from({ length: T * 2 * 2 * 3 }, (_, at) => {
      const [q, target, k, t] = [at % 3, Math.floor(at / 3) % 2, Math.floor(at / 6) % 2, Math.floor(at / 12)];
      return sign * (1000 * t + 100 * (k + 1) + 10 * target + q);
    });
  const table = Float32Array.from({ length: T * 3 }, (_, at) => at);
  table[4] = NaN;
  const run = (sign: number): Run => ({
    meta,
    row: 0,
    error: null,
    prediction: forecast(sign),
    table,
    symbols: null,
  });
  const got = compare(run(1), run(-1), { target: 1, lead: 2, output: 0 });
  assert.equal(got.name, "b");
  assert.deepEqual(got.truth, [1, null, 7, 10]);
  assert.deepEqual(got.before, [null, null, 211, 1211]);
  assert.deepEqual(got.after, [null, null, -211, -1211]);
  assert.deepEqual(got.change!.values, [null, null, 422, 2422]);
  assert.equal(compare(run(1), null, LOOK).change, null);
});

test("layers: one output", () => {
  const blocks = [{ output: { dtype: "f4", shape: [3, 2] } }];
  const meta = { kind: "layers", outputs: [], blocks } as unknown as Meta;
  const run = (values: number[]): Run => ({
    meta,
    row: 0,
    error: null,
    prediction: Float32Array.from(values),
    table: null,
    symbols: null,
  });
  const got = compare(run([1, 2, 3, 4, 5, 6]), run([1, 2, 3, 0, 5, 8]), { ...LOOK, output: 1 });
  assert.deepEqual(got.before, [2, 4, 6]);
  assert.deepEqual(got.difference, [0, -4, 2]);
  assert.deepEqual(got.change!.values, [0, 4, 2]);
});

test("where a change is largest, and from where to where it is felt", () => {
  assert.equal(largest([null, 0, 0]), null);
  assert.equal(largest([]), null);
  assert.deepEqual(largest([null, 0.001, 0.02, 1, 0.5, 0.01, 0.009]), { t: 3, value: 1, felt: [2, 5] });
  forAll((random) => {
    const change = Array.from({ length: random.whole(1, 30) }, () =>
      random.next() < 0.2 ? null : random.next() ** 9,
    );
    const known = change.filter((value) => value !== null);
    const got = largest(change);
    if (!known.length) return assert.equal(got, null);
    const most = Math.max(...known);
    const felt = [...change.keys()].filter((t) => change[t] !== null && change[t]! >= 0.01 * most);
    assert.deepEqual(got, { t: change.indexOf(most), value: most, felt: [felt[0], felt[felt.length - 1]] });
  });
});

test("mean errors count only steps that both runs have", () => {
  const run = (...error: number[]) => ({ error: Float32Array.from(error) }) as unknown as Run;
  assert.deepEqual(meanErrors(run(NaN, 1, 2, 3), run(1, NaN, 4, 6)), { before: 2.5, after: 5 });
  assert.deepEqual(meanErrors(run(NaN, 1, 3), null), { before: 2, after: null });
  assert.equal(meanErrors(run(NaN), null), null);
  assert.equal(meanErrors({ error: null } as unknown as Run, null), null);
});

test("symbols that either run holds likely, the likeliest first", () => {
  const meta = { text: { symbols: ["a", "b", "c"] } };
  const run = (...chances: number[]) =>
    ({ meta, prediction: Float32Array.from(chances, Math.log) }) as unknown as Run;
  const before = run(1, 1, 1, 0.5, 0.25, 0.125);
  const got = topSymbols(before, run(1, 1, 1, 0.25, 0.125, 1), 1, 2);
  assert.deepEqual(
    got.map(([symbol]) => symbol),
    [2, 0],
  );
  close(
    got.flatMap(([, p, q]) => [p, q!]),
    [0.125, 1, 0.5, 0.25],
    1e-6,
  );
  assert.equal(topSymbols(before, null, 1, 3)[0][2], null);
});
