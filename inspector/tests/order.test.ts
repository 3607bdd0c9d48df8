import assert from "node:assert/strict";
import { test } from "node:test";
import { correlate, sorted } from "../src/order";
import { forAll } from "./support";

test("the largest figure comes first, equal ones by number, and a unit without one at its end", () => {
  assert.deepEqual(sorted(3, null, true), [0, 1, 2]);
  assert.deepEqual(sorted(5, [2, null, 7, 2, null], true), [1, 4, 2, 0, 3]);
  assert.deepEqual(sorted(5, [2, null, 7, 2, null], false), [2, 0, 3, 1, 4]);
  forAll((random) => {
    const figures = Array.from({ length: random.whole(1, 30) }, () =>
      random.next() < 0.2 ? null : random.whole(-4, 4),
    );
    const order = sorted(figures.length, figures, false);
    assert.deepEqual(
      [...order].sort((a, b) => a - b),
      [...figures.keys()],
    );
    for (let k = 1; k < order.length; k++) {
      const [x, y] = [figures[order[k - 1]] ?? -Infinity, figures[order[k]] ?? -Infinity];
      assert.ok(x > y || (x === y && order[k - 1] < order[k]));
    }
  });
});

test("a correlation is that of the definition, over the steps that have a value", () => {
  forAll((random) => {
    const [units, T] = [random.whole(1, 5), random.whole(3, 40)];
    const cell = random.array(units * T, -2, 2);
    const values = Float64Array.from({ length: T }, (_, t) =>
      t > 2 && random.next() < 0.3 ? NaN : random.between(-9, 9),
    );
    const figures = correlate(cell, units, values);
    const steps = [...values.keys()].filter((t) => !Number.isNaN(values[t]));
    const mean = (of: (t: number) => number) => steps.reduce((sum, t) => sum + of(t), 0) / steps.length;
    for (let u = 0; u < units; u++) {
      const x = (t: number) => cell[t * units + u];
      const y = (t: number) => values[t];
      const [mx, my] = [mean(x), mean(y)];
      const covariance = mean((t) => (x(t) - mx) * (y(t) - my));
      const spread = (of: (t: number) => number, m: number) => Math.sqrt(mean((t) => (of(t) - m) ** 2));
      assert.ok(Math.abs(figures[u]! - covariance / (spread(x, mx) * spread(y, my))) < 1e-9);
    }
  });
});

test("a unit or a column that never moves has no correlation", () => {
  assert.deepEqual(correlate(Float32Array.of(1, 0, 1, 1, 1, 2), 2, Float64Array.of(3, 4, 5)), [null, 1]);
  assert.deepEqual(correlate(Float32Array.of(1, 2, 3), 1, Float64Array.of(4, 4, 4)), [null]);
});
