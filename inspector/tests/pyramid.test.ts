// Bytes to paint from against means and products that are computed one by one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { paint } from "../src/components/heat/paint";
import { largest, largestOfEach, pyramid, survival, TOP } from "../src/components/heat/pyramid";
import { close, forAll } from "./support";

test("a byte is the number on the scale of its unit, and what lies beyond has the colour of the end", () => {
  const values = Float32Array.of(-1, 0, 0, 5, 1, 10, 3, 20);
  const { units, levels } = pyramid(values, Float32Array.of(-1, 0), Float32Array.of(1, 10));
  assert.equal(units, 2);
  assert.equal(levels.length, 1);
  assert.deepEqual([...levels[0].bytes], [0, 127, TOP, TOP, 0, 127, TOP, TOP]);
});

test("bytes of any block are within half a step of the scale, unit by unit", () => {
  forAll((random) => {
    const [units, T] = [random.whole(1, 40), random.whole(1, 50)];
    const values = random.array(units * T, -2, 2);
    const lows = random.array(units, -2, -0.1);
    const highs = random.array(units, 0.1, 2);
    const { bytes } = pyramid(values, lows, highs).levels[0];
    for (let u = 0; u < units; u++) {
      for (let t = 0; t < T; t++) {
        const part = (values[t * units + u] - lows[u]) / (highs[u] - lows[u]);
        const exact = TOP * Math.max(0, Math.min(1, part));
        assert.ok(Math.abs(bytes[u * T + t] - exact) <= 0.5 + 1e-4);
      }
    }
  });
});

test("a level has one byte for each 2^n steps, and means do not drift", () => {
  forAll((random) => {
    const T = random.whole(257, 5000);
    const { levels } = pyramid(random.array(2 * T, 0, 1), new Float32Array(2), new Float32Array(2).fill(1));
    assert.ok(levels[levels.length - 1].steps <= 256);
    levels.forEach(({ steps, bytes }, depth) => {
      assert.equal(steps, Math.ceil(T / 2 ** depth));
      assert.equal(bytes.length, 2 * steps);
      for (let u = 0; u < 2; u++) {
        const below = levels[0].bytes.subarray(u * T, (u + 1) * T);
        for (let k = 0; k < Math.floor(T / 2 ** depth); k++) {
          const part = below.subarray(k * 2 ** depth, (k + 1) * 2 ** depth);
          const mean = part.reduce((sum, byte) => sum + byte, 0) / part.length;
          assert.ok(Math.abs(bytes[u * steps + k] - mean) <= depth / 2 + 1e-9);
        }
      }
    });
  }, 10);
  const even = pyramid(new Float32Array(4096).fill(0.3), Float32Array.of(0), Float32Array.of(1));
  for (const { bytes } of even.levels) assert.ok(bytes.every((byte) => byte === Math.floor(0.3 * TOP + 0.5)));
});

test("survival is the product of the forget gates between, in both directions", () => {
  forAll((random) => {
    const [units, T] = [random.whole(1, 20), random.whole(1, 40)];
    const forget = random.array(units * T, 0.3, 1);
    const t = random.whole(0, T - 1);
    for (const direction of ["forward", "reverse"] as const) {
      const { bytes } = survival(forget, units, t, direction).levels[0];
      for (let u = 0; u < units; u++) {
        for (let k = 0; k < T; k++) {
          const read = direction === "forward" ? k <= t : k >= t;
          let left = read ? 1 : 0;
          for (let j = Math.min(k, t); read && j <= Math.max(k, t); j++)
            if (j !== k) left *= forget[j * units + u];
          assert.ok(Math.abs(bytes[u * T + k] - left * TOP) <= 0.51, `${direction} ${u} ${k}`);
        }
      }
    }
  });
});

test("the largest of each unit, and what all but 0.5% stay below", () => {
  forAll((random) => {
    const [units, T] = [random.whole(1, 9), random.whole(1, 60)];
    const values = random.array(units * T, -3, 3);
    const expected = Array.from({ length: units }, (_, u) =>
      Math.max(...values.filter((_, at) => at % units === u).map(Math.abs)),
    );
    close(largestOfEach(values, units), expected, 0);
    const limit = largest(values);
    const above = values.filter((value) => Math.abs(value) > limit).length;
    assert.ok(above <= Math.ceil(0.005 * values.length));
  });
  assert.deepEqual([...largestOfEach(new Float32Array(4), 2)], [1, 1]);
  assert.equal(largest(new Float32Array(4)), 1);
  const outlier = new Float32Array(1000).fill(1);
  outlier[3] = 100;
  assert.equal(largest(outlier), 1);
});

test("a pixel shows the step and the unit under it, and the mean of several units", () => {
  const colors = Uint32Array.from({ length: 255 }, (_, k) => k);
  // Unit u at step t is u / 3 of the scale at even steps, 0 at odd ones.
  const values = Float32Array.from({ length: 4 * 6 }, (_, at) => (Math.floor(at / 4) % 2 ? 0 : (at % 4) / 3));
  const map = pyramid(values, new Float32Array(4), new Float32Array(4).fill(1));
  const pixels = { width: 6, height: 4, colors: new Uint32Array(24) };
  const order = [3, 1, 0, 2];
  paint(pixels, map, colors, { steps: [0, 6], rows: [0, 4], order });
  const byte = (u: number) => Math.floor((u / 3) * TOP + 0.5);
  order.forEach((u, y) => {
    assert.deepEqual([...pixels.colors.subarray(6 * y, 6 * y + 6)], [byte(u), 0, byte(u), 0, byte(u), 0]);
  });
  const flat = { width: 1, height: 1, colors: new Uint32Array(1) };
  paint(flat, map, colors, { steps: [0, 1], rows: [0, 4], order });
  assert.equal(flat.colors[0], Math.floor((byte(0) + byte(1) + byte(2) + byte(3)) / 4));
});
