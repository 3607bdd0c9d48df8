import assert from "node:assert/strict";
import { test } from "node:test";
import { namesUnits, unitsOf, unitsText } from "../src/units";
import { forAll } from "./support";

test("numbers, ranges and all", () => {
  assert.deepEqual(unitsOf("3, 7, 10-14", 20), [3, 7, 10, 11, 12, 13, 14]);
  assert.deepEqual(unitsOf(" 7 3  3,5–5 ", 8), [3, 5, 7]);
  assert.deepEqual(unitsOf("ALL", 3), [0, 1, 2]);
  assert.deepEqual(unitsOf("0", 1), [0]);
});

test("what is not a unit is refused with the remedy", () => {
  const refused: [string, RegExp][] = [
    ["", /Name the units/],
    [" , ", /Name the units/],
    ["x", /“x” is not a unit/],
    ["1.5", /“1\.5” is not a unit/],
    ["-1", /“-1” is not a unit/],
    ["1-2-3", /“1-2-3” is not a unit/],
    ["7-3", /write “3-7”/],
    ["8", /no unit 8: this layer has units 0 to 7/],
    ["2-9", /no unit 9/],
  ];
  for (const [text, message] of refused) assert.throws(() => unitsOf(text, 8), message, text);
});

test("units go to a text and back", () => {
  assert.equal(unitsText([]), "");
  assert.equal(unitsText([5, 4, 3]), "3-5");
  assert.equal(unitsText([1, 2, 9, 9]), "1, 2, 9");
  forAll((random) => {
    const units = Array.from({ length: random.whole(1, 20) }, () => random.whole(0, 29));
    const ordered = [...new Set(units)].sort((a, b) => a - b);
    const text = unitsText(units);
    assert.deepEqual(unitsOf(text, 30), ordered);
    assert.ok(namesUnits(text));
  });
});

test("a text that names no numbers is a label", () => {
  for (const text of ["all", "All", "3", "3, 7-9", "1–4"]) assert.ok(namesUnits(text), text);
  for (const text of ["dead", "3 resets", "", "all units"]) assert.ok(!namesUnits(text), text);
});
