// The table of a cell's parts, for every cell, and the numbers of a step, against the equations written out.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Cell } from "../src/data/anatomy";
import { GATES, PARTS, type Part } from "../src/data/cell";
import { equationsOf } from "../src/data/equations";
import { featuresOf, type GivenFeatures } from "../src/data/features";
import { Measures } from "../src/data/quantities";
import { Recording } from "../src/data/recording";
import type { Source } from "../src/data/source";
import type { Meta } from "../src/data/types";
import { isMeant, stepsBack, topicsOf } from "../src/views/cell/parts";
import { loadBlocks, mostActive, unitStep } from "../src/views/cell/scene";
import { close, forAll, Random } from "./support";

const PLAIN = new Cell(featuresOf({}));
const cellOf = (given: GivenFeatures, projected = false) => new Cell(featuresOf(given), projected);

/** Any cell that Python would accept. */
function anyFeatures(random: Random): GivenFeatures {
  const one = <T>(...values: T[]) => values[random.whole(0, values.length - 1)];
  if (random.next() < 0.15)
    return { kind: "slstm", heads: one(1, 2), forget_gate_activation: one("sigmoid", "exponential") };
  const coupled = random.next() < 0.3;
  return {
    coupled,
    bias: one(true, false),
    peephole: one(true, false),
    input_gate: coupled || random.next() < 0.7,
    forget_gate: coupled || random.next() < 0.7,
    output_gate: one(true, true, false),
    gate_activation: one("sigmoid", "hard_sigmoid"),
    candidate_activation: one("tanh", "hard_tanh", "identity"),
    output_activation: one("tanh", "hard_tanh", "identity"),
    cell_clip: one(0, 0, 0.5),
    layer_norm: one(true, false),
    zoneout_cell: one(0, 0, 0.25),
    zoneout_hidden: one(0, 0, 0.125),
  };
}

test("gates are in the order i, f, g, o, and the candidate alone goes below 0", () => {
  assert.equal(GATES.map((gate) => PLAIN.parts[gate].letter).join(""), "ifgo");
  assert.deepEqual(PLAIN.switches, ["input_gate", "forget_gate", "output_gate"]);
  assert.deepEqual(
    GATES.map((gate) => PLAIN.limits(gate)),
    [
      [0, 1],
      [0, 1],
      [-1, 1],
      [0, 1],
    ],
  );
  for (const gate of GATES) assert.deepEqual(PLAIN.parts[gate].reads, ["hidden_before", "input"]);
  assert.deepEqual(cellOf({ candidate_activation: "identity" }).limits("candidate"), [-Infinity, Infinity]);
});

test("a step computes each operation after what it reads, and its numbers are those of the equations", () => {
  forAll((random) => {
    const features = featuresOf(anyFeatures(random));
    const cell = new Cell(features);
    const { cell_clip: clip, zoneout_cell: z, zoneout_hidden: zh } = features;
    const f = features.forget_gate ? random.next() : 1;
    const i = !features.input_gate ? 1 : features.coupled ? 1 - f : random.next();
    const g = random.between(-1, 1);
    const o = features.output_gate ? random.next() : 1;
    const c = random.between(-3, 3);
    const h = random.between(-1, 1);
    const n = random.between(-2, 2);
    const numbers: Partial<Record<Part, number>> = { hidden_before: h, cell_before: c, candidate: g };
    if (cell.has("forget_gate")) numbers.forget_gate = f;
    if (cell.has("input_gate") && !features.coupled) numbers.input_gate = i;
    if (cell.has("output_gate")) numbers.output_gate = o;
    // What depends on other units is recorded.
    for (const part of cell.operations) numbers[part] = part === "normal" ? n : cell.computed(part, numbers);
    const sum = f * c + i * g;
    const clipped = clip ? Math.min(clip, Math.max(-clip, sum)) : sum;
    const after = z ? z * c + (1 - z) * clipped : clipped;
    const read = features.layer_norm ? n : after;
    const bent = {
      tanh: Math.tanh(read),
      hard_tanh: Math.min(1, Math.max(-1, read)),
      identity: read,
    }[features.output_activation];
    const shown = o * bent;
    close(numbers.cell!, after);
    close(numbers[cell.end]!, shown);
    if (zh) close(numbers.hidden!, zh * h + (1 - zh) * shown);
    if (cell.has("kept")) close(numbers.kept!, f * c);
    if (cell.has("written")) close(numbers.written!, i * g);
    if (features.coupled) close(numbers.input_gate!, i);
  });
  assert.ok(Number.isNaN(PLAIN.computed("kept", { forget_gate: 1 })));
});

test("every part of every cell is on a way from the inputs to what the step leaves", () => {
  forAll((random) => {
    const projected = random.next() < 0.3;
    const given = anyFeatures(random);
    const cell = cellOf(projected ? { ...given, zoneout_hidden: 0 } : given, projected);
    const starts = cell.present.filter((part) => !cell.parts[part].reads.length);
    assert.deepEqual([...starts].sort(), ["cell_before", "hidden_before", "input"]);
    const ends = cell.present.filter((part) => !cell.fedBy(part).length);
    assert.deepEqual(ends, ["hidden"]);
    for (const part of cell.present) {
      for (const read of cell.parts[part].reads) {
        assert.ok(cell.has(read), `${part} reads ${read}, which is not there`);
        assert.ok(cell.fedBy(read).includes(part));
      }
      for (const near of cell.neighbours(part)) assert.ok(cell.has(near));
    }
    const letters = cell.operations.map((part) => cell.parts[part].letter);
    assert.equal(new Set(letters).size, letters.length);
  }, 200);
});

test("which gates a user may hold", () => {
  assert.deepEqual(PLAIN.holdable, GATES);
  assert.deepEqual(cellOf({ coupled: true }).holdable, ["forget_gate", "candidate", "output_gate"]);
  assert.deepEqual(cellOf({ input_gate: false, output_gate: false }).holdable, ["forget_gate", "candidate"]);
  assert.deepEqual(cellOf({ kind: "slstm" }).holdable, GATES);
});

test("the equations of a cell", () => {
  const cases: [GivenFeatures, boolean, string[]][] = [
    [
      {},
      false,
      [
        "f = σ(W_f x + U_f h + b_f)",
        "i = σ(W_i x + U_i h + b_i)",
        "g = tanh(W_g x + U_g h + b_g)",
        "o = σ(W_o x + U_o h + b_o)",
        "c′ = c ⊗ f + i ⊗ g",
        "h′ = o ⊗ tanh(c′)",
      ],
    ],
    [
      { peephole: true, layer_norm: true, coupled: true },
      true,
      [
        "f = σ(norm(W_f x + U_f h) + p_f ⊗ c + b_f)",
        "i = 1 − f",
        "g = tanh(norm(W_g x + U_g h) + b_g)",
        "o = σ(norm(W_o x + U_o h) + p_o ⊗ c′ + b_o)",
        "c′ = c ⊗ f + i ⊗ g",
        "h′ = W_hr (o ⊗ tanh(norm(c′)))",
      ],
    ],
    [
      { input_gate: false, output_gate: false, bias: false, candidate_activation: "identity", cell_clip: 2 },
      false,
      ["f = σ(W_f x + U_f h)", "g = W_g x + U_g h", "c′ = clip(c ⊗ f + g, ±2)", "h′ = tanh(c′)"],
    ],
    [
      {
        forget_gate: false,
        output_activation: "identity",
        gate_activation: "hard_sigmoid",
        zoneout_cell: 0.1,
        zoneout_hidden: 0.05,
      },
      false,
      [
        "i = hard σ(W_i x + U_i h + b_i)",
        "g = tanh(W_g x + U_g h + b_g)",
        "o = hard σ(W_o x + U_o h + b_o)",
        "c′ = 0.1 c + 0.9 (c + i ⊗ g)",
        "h′ = 0.05 h + 0.95 o ⊗ c′",
      ],
    ],
    [
      { kind: "slstm", heads: 2, forget_gate_activation: "exponential" },
      false,
      [
        "f = exp(W_f x + U_f h + b_f)",
        "i = exp(W_i x + U_i h + b_i)",
        "z = tanh(W_z x + U_z h + b_z)",
        "o = σ(W_o x + U_o h + b_o)",
        "n′ = f n + i",
        "keep = f n / n′",
        "share = i / n′",
        "a′ = a ⊗ keep + share ⊗ z",
        "h′ = o ⊗ a′",
      ],
    ],
  ];
  for (const [given, projected, expected] of cases)
    assert.deepEqual(equationsOf(cellOf(given, projected)), expected);
});

test("what stays in sight while a part is pointed at", () => {
  for (const projected of [false, true]) {
    const cell = cellOf({}, projected);
    const gates: Part[] = ["input_gate", "forget_gate", "candidate", "output_gate"];
    const expected: Partial<Record<Part, Part[]>> = {
      input: gates,
      hidden_before: gates,
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
      ...(projected && { projection: ["shown", "hidden"] as Part[] }),
      hidden: ["output_gate", "bent", "shown", ...(projected ? ["projection" as const] : [])],
    };
    assert.deepEqual([...cell.present].sort(), Object.keys(expected).sort());
    for (const part of cell.present) {
      assert.deepEqual(cell.neighbours(part).sort(), [...expected[part]!].sort(), part);
      for (const other of cell.present) {
        assert.equal(stepsBack(cell, other, part), other !== part && !expected[part]!.includes(other));
        assert.equal(isMeant(cell, other, part), other === part);
      }
      assert.ok(!stepsBack(cell, part, null) && !isMeant(cell, part, null));
    }
    for (const { topic } of topicsOf(cell))
      for (const part of PARTS) assert.equal(stepsBack(cell, part, topic), !isMeant(cell, part, topic));
  }
  // Peepholes and what zoneout keeps are lines of the cell state, too.
  const other = cellOf({ peephole: true, zoneout_cell: 0.1, coupled: true });
  assert.deepEqual(other.neighbours("cell_before").sort(), ["cell", "forget_gate", "kept"]);
  assert.deepEqual(other.neighbours("input_gate").sort(), ["forget_gate", "written"]);
  assert.ok(other.fedBy("cell").includes("output_gate"));
});

test("the questions are those of the cell", () => {
  const questions = (given: GivenFeatures) => topicsOf(cellOf(given)).map(({ question }) => question);
  assert.ok(questions({}).includes("What do ⊗, + and tanh do?"));
  assert.ok(!questions({}).includes("How does this cell differ?"));
  const other = questions({ coupled: true, output_gate: false, output_activation: "identity", cell_clip: 3 });
  assert.equal(other[0], "How does this cell differ?");
  assert.ok(other.includes("What are f, i and g?"));
  assert.ok(other.includes("What do 1 −, ⊗, + and clip do?"));
});

test("a quantity looks like the part that it is", () => {
  const { of } = new Measures(PLAIN);
  for (const part of [...GATES, "cell", "hidden"] as const) {
    const { name, letter, color, range } = PLAIN.parts[part];
    const { says: _, ...looks } = of[part];
    assert.deepEqual(looks, { name, letter, color, range });
  }
  const measures = new Measures(PLAIN);
  const signed = measures.present.filter((name) => measures.hasSign(name));
  assert.deepEqual(signed, ["cell", "hidden", "candidate", "write"]);
  const without = new Measures(cellOf({ input_gate: false, zoneout_cell: 0.1 }));
  assert.ok(!without.present.includes("input_gate"));
  assert.deepEqual([without.of.write.letter, without.of.survival.letter], ["written", "∏ kept"]);
});

/** A recording of one layer in both directions whose blocks are random, with P < H if projected. */
function recorded(seed: number, T: number, H: number, P: number) {
  const random = new Random(seed);
  const blocks: Record<string, Float32Array> = {};
  for (const direction of ["forward", "reverse"]) {
    for (const gate of GATES) blocks[`0/${direction}/${gate}`] = random.array(T * H, ...PLAIN.limits(gate));
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
            normal: c,
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
  for (let n = 0; n < T; n++) {
    const at = (T - 1 - n) * H + 1;
    assert.equal(column.kept[n], of("forget_gate")[at]);
    assert.equal(column.written[n], of("input_gate")[at] * of("candidate")[at]);
  }
  assert.deepEqual([...column.added], [[T - 1 - 2, 0.5]]);
  assert.equal((await recording.column(0, 0, "forward", 1)).added.size, 0);
});

test("effective factors and a normalised state are used where a recording has them", async () => {
  const [T, H] = [4, 2];
  const random = new Random(3);
  const names = [...GATES, "cell", "kept", "written", "normal"] as const;
  const blocks: Record<string, Float32Array> = {};
  for (const name of names) blocks[`0/forward/${name}`] = random.array(T * H, 0, 1);
  for (const name of ["cell_initial", "hidden_initial"]) blocks[`0/forward/${name}`] = random.array(H, -1, 1);
  const meta = {
    id: "r",
    rows: [{ name: "", steps: T }],
    layers: [{ hidden: H, output: H, directions: ["forward"] }],
    cell: { layer_norm: true, zoneout_cell: 0.1, output_activation: "hard_tanh" },
    edits: [],
    blocks: [
      Object.fromEntries(
        Object.entries(blocks).map(([name, { length }]) => [name, { dtype: "f4", shape: [length] }]),
      ),
    ],
  } as unknown as Meta;
  const source = { block: async (_id: string, _row: number, name: string) => blocks[name] } as unknown as Source;
  const recording = new Recording(source, meta);
  const of = (name: (typeof names)[number]) => blocks[`0/forward/${name}`];
  assert.deepEqual(await recording.quantity(0, 0, "forward", "kept"), of("kept"));
  assert.deepEqual(await recording.quantity(0, 0, "forward", "write"), of("written"));
  const hidden = await recording.quantity(0, 0, "forward", "hidden");
  close(
    hidden,
    of("output_gate").map((o, at) => o * Math.min(1, of("normal")[at])),
    0,
  );
  const column = await recording.column(0, 0, "forward", 1);
  for (let t = 0; t < T; t++) {
    const at = t * H + 1;
    assert.deepEqual([column.kept[t], column.written[t]], [of("kept")[at], of("written")[at]]);
    close(column.input[t], 0.9 * of("input_gate")[at]);
  }
});
