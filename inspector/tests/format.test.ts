import assert from "node:assert/strict";
import { test } from "node:test";
import { short } from "../src/format";
import { forAll } from "./support";

test("a number of any size has the minus sign, in its exponent too", () => {
  const texts: [number, string][] = [
    [0, "0"],
    [-0.000629, "−6.29e−4"],
    [0.000629, "6.29e−4"],
    [-2.5e7, "−2.50e7"],
    [-12.345, "−12.35"],
    [Number.NaN, "–"],
    [-Infinity, "−∞"],
  ];
  for (const [value, text] of texts) assert.equal(short(value), text);
});

test("a shown number is the value to the digits that it has", () => {
  forAll((random) => {
    const value = random.between(-1, 1) * 10 ** random.whole(-9, 9);
    const text = short(value);
    assert.doesNotMatch(text, /-/);
    assert.ok(
      Math.abs(Number(text.replaceAll("−", "-")) - value) <= 5e-5 + 0.006 * Math.abs(value),
      `${value}: ${text}`,
    );
  }, 500);
});
