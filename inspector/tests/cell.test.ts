// The table of the cell's parts, and the numbers of a step, against the equations written out.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CELL,
  computed,
  fedBy,
  GATES,
  hasSign,
  limits,
  neighbours,
  OPERATIONS,
  PARTS,
  type Part,
  QUANTITIES,
  SWITCHES,
} from "../src/data/cell";
import { Recording } from "../src/data/recording";
import type { Source } from "../src/data/source";
import type { Meta } from "../src/data/types";
import { isMeant, stepsBack, TOPICS } from "../src/views/cell/parts";
import { loadBlocks, mostActive, unitStep } from "../src/views/cell/scene";
import { close, forAll, Random } from "./support";

test("gates are in the order i, f, g, o, and the candidate alone goes below 0", () => {
  assert.equal(GATES.map((gate) => CELL[gate].letter).join(""), "ifgo");
  assert.deepEqual(SWITCHES, ["input_gate", "forget_gate", "output_gate"]);
  assert.deepEqual(GATES.map(limits), [
    [0, 1],
    [0, 1],
    [-1, 1],
    [0, 1],
  ]);
  for (const gate of GATES) assert.deepEqual(CELL[gate].reads, ["hidden_before", "input"]);
});

test("a step computes each operation after what it reads, and its numbers are those of the equations", () => {
  forAll((random) => {
    const f = random.next();
    const i = random.next();
    const g = random.between(-1, 1);
    const o = random.next();
    const c = random.between(-3, 3);
    const numbers: Partial<Record<Part, number>> = {
      cell_before: c,
      forget_gate: f,
      input_gate: i,
      candidate: g,
      output_gate: o,
    };
    for (const part of OPERATIONS) numbers[part] = computed(part, numbers);
    assert.equal(numbers.kept, f * c);
    assert.equal(numbers.written, i * g);
    assert.equal(numbers.cell, f * c + i * g);
    assert.equal(numbers.bent, Math.tanh(f * c + i * g));
    assert.equal(numbers.shown, o * Math.tanh(f * c + i * g));
  });
  assert.ok(Number.isNaN(computed("kept", { forget_gate: 1 })));
});

test("every part is on a way from the inputs to what the step leaves", () => {
  const starts = PARTS.filter((part) => !CELL[part].reads.length);
  assert.deepEqual(starts.sort(), ["cell_before", "hidden_before", "input"]);
  const ends = PARTS.filter((part) => !fedBy(part).length);
  assert.deepEqual(ends, ["hidden"]);
  for (const part of PARTS) for (const read of CELL[part].reads) assert.ok(fedBy(read).includes(part));
});

test("what stays in sight while a part is pointed at", () => {
  const expected: Record<Part, Part[]> = {
    input: ["input_gate", "forget_gate", "candidate", "output_gate"],
    hidden_before: ["input_gate", "forget_gate", "candidate", "output_gate"],
    cell_before: ["kept"],
    forget_gate: ["kept"],
    kept: ["cell_before", "forget_gate"],
    input_gate: ["written"],
    candidate: ["written"],
    written: ["input_gate", "candidate"],
    cell: ["kept", "written"],
    bent: ["cell"],
    output_gate: ["shown", "hidden"],
    shown: ["output_gate", "bent", "hidden"],
    projection: ["shown", "hidden"],
    hidden: ["output_gate", "bent", "shown", "projection"],
  };
  for (const part of PARTS) {
    assert.deepEqual(neighbours(part).sort(), expected[part].sort(), part);
    for (const other of PARTS) {
      assert.equal(stepsBack(other, part), other !== part && !expected[part].includes(other));
      assert.equal(isMeant(other, part), other === part);
    }
    assert.ok(!stepsBack(part, null) && !isMeant(part, null));
  }
  for (const { topic } of TOPICS)
    for (const part of PARTS) assert.equal(stepsBack(part, topic), !isMeant(part, topic));
});

test("a quantity looks like the part that it is", () => {
  for (const part of [...GATES, "cell", "hidden"] as const) {
    const { name, letter, color, range } = QUANTITIES[part];
    assert.deepEqual(
      { name, letter, color, range },
      {
        name: CELL[part].name,
        letter: CELL[part].letter,
        color: CELL[part].color,
        range: CELL[part].range,
      },
    );
  }
  const signed = Object.keys(QUANTITIES).filter((name) => hasSign(name as keyof typeof QUANTITIES));
  assert.deepEqual(signed, ["cell", "hidden", "candidate", "write"]);
});

/** A recording of one layer in both directions whose blocks are random, with P < H if projected. */
function recorded(seed: number, T: number, H: number, P: number) {
  const random = new Random(seed);
  const blocks: Record<string, Float32Array> = {};
  for (const direction of ["forward", "reverse"]) {
    for (const gate of GATES) blocks[`0/${direction}/${gate}`] = random.array(T * H, ...limits(gate));
    blocks[`0/${direction}/cell`] = random.array(T * H, -3, 3);
    blocks[`0/${direction}/cell_initial`] = random.array(H, -1, 1);
    blocks[`0/${direction}/hidden_initial`] = random.array(P, -1, 1);
    if (P < H) blocks[`0/${direction}/hidden`] = random.array(T * P, -1, 1);
  }
  const edit = { row: 0, layer: 0, direction: "reverse", t: 2, unit: 1, added: 0.5 };
  const shapes = Object.fromEntries(
    Object.entries(blocks).map(([name, { length }]) => [name, { dtype: "f4", shape: [length] }]),
  );
  const meta = {
    id: "r",
    rows: [{ name: "", steps: T }],
    layers: [{ hidden: H, output: P, directions: ["forward", "reverse"] }],
    edits: [edit],
    blocks: [shapes],
  } as unknown as Meta;
  const source = { block: async (_id: string, _row: number, name: string) => blocks[name] } as unknown as Source;
  return { recording: new Recording(source, meta), blocks };
}

test("the numbers of a unit at a step are those of the blocks, in both directions", async () => {
  const [T, H] = [5, 3];
  for (const P of [3, 2]) {
    const { recording, blocks } = recorded(P, T, H, P);
    for (const direction of ["forward", "reverse"] as const) {
      const scene = await loadBlocks(recording, 0, 0, direction);
      const block = (name: string) => blocks[`0/${direction}/${name}`];
      for (let t = 0; t < T; t++) {
        for (let unit = 0; unit < H; unit++) {
          const got = unitStep(scene, t, unit);
          const at = t * H + unit;
          const previous = direction === "forward" ? t - 1 : t + 1;
          const starts = previous < 0 || previous >= T;
          const edited = direction === "reverse" && t === 2 && unit === 1 ? 0.5 : 0;
          const before = (starts ? block("cell_initial")[unit] : block("cell")[previous * H + unit]) + edited;
          const hidden = (step: number) =>
            unit >= P
              ? NaN
              : P < H
                ? block("hidden")[step * P + unit]
                : block("output_gate")[step * H + unit] * Math.tanh(block("cell")[step * H + unit]);
          const [i, f, g, o] = GATES.map((gate) => block(gate)[at]);
          const c = block("cell")[at];
          const first = unit < P ? block("hidden_initial")[unit] : NaN;
          assert.deepEqual(got, {
            unit,
            input_gate: i,
            forget_gate: f,
            candidate: g,
            output_gate: o,
            cell: c,
            cell_before: before,
            kept: f * before,
            written: i * g,
            bent: Math.tanh(c),
            shown: o * Math.tanh(c),
            hidden_before: starts ? first : hidden(previous),
            hidden: hidden(t),
          });
        }
      }
    }
  }
});

test("the units that write most", async () => {
  const { recording, blocks } = recorded(7, 4, 6, 6);
  const scene = await loadBlocks(recording, 0, 0, "forward");
  const wrote = (unit: number) =>
    Math.abs(blocks["0/forward/input_gate"][12 + unit] * blocks["0/forward/candidate"][12 + unit]);
  const expected = [0, 1, 2, 3, 4, 5].sort((a, b) => wrote(b) - wrote(a)).slice(0, 3);
  assert.deepEqual(mostActive(scene, 2, "write", 3), expected);
});

test("quantities that are not recorded follow from those that are, and a column turns with the direction", async () => {
  const [T, H] = [5, 3];
  const { recording, blocks } = recorded(9, T, H, H);
  const of = (name: string) => blocks[`0/reverse/${name}`];
  const write = await recording.quantity(0, 0, "reverse", "write");
  close(
    write,
    of("input_gate").map((i, at) => i * of("candidate")[at]),
    0,
  );
  const hidden = await recording.quantity(0, 0, "reverse", "hidden");
  close(
    hidden,
    of("output_gate").map((o, at) => o * Math.tanh(of("cell")[at])),
    0,
  );
  const column = await recording.column(0, 0, "reverse", 1);
  for (let n = 0; n < T; n++) assert.equal(column.forget_gate[n], of("forget_gate")[(T - 1 - n) * H + 1]);
  assert.deepEqual([...column.added], [[T - 1 - 2, 0.5]]);
  assert.equal((await recording.column(0, 0, "forward", 1)).added.size, 0);
});
