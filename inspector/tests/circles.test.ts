import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
// @ts-expect-error: a script without types
import { circles, importsOf } from "../circles.mjs";

const graph = (edges: Record<string, string[]>) =>
  new Map(Object.entries(edges).map(([file, others]) => [file, new Set(others)]));

test("circles are found whatever their length, and a diamond is none", () => {
  assert.deepEqual(circles(graph({ a: ["b", "c"], b: ["d"], c: ["d"], d: [] })), []);
  assert.deepEqual(circles(graph({ a: ["b"], b: ["c"], c: ["b", "d"], d: [] })), [["b", "c"]]);
  assert.deepEqual(circles(graph({ a: ["a"] })), [["a"]]);
  assert.deepEqual(circles(graph({ a: ["b"], b: ["c"], c: ["a"], d: ["a", "e"], e: ["d"] })), [
    ["a", "b", "c"],
    ["d", "e"],
  ]);
});

test("imports of types, of several lines, for their effect and on demand all count", async () => {
  const folder = await mkdtemp(join(tmpdir(), "gatewright-circles-"));
  try {
    await mkdir(join(folder, "sub"));
    await writeFile(
      join(folder, "a.ts"),
      'import type {\n  B,\n} from "./sub/b";\nimport "./style.css";\nimport x from "preact";\n',
    );
    await writeFile(join(folder, "sub", "b.tsx"), 'import "./c";\nconst a = import("../a");\n');
    await writeFile(join(folder, "sub", "c.ts"), 'export { a } from "../a";\n');
    const imports: Map<string, Set<string>> = await importsOf(folder);
    const [a, b, c] = [join(folder, "a.ts"), join(folder, "sub", "b.tsx"), join(folder, "sub", "c.ts")];
    assert.deepEqual(
      imports,
      new Map([
        [a, new Set([b])],
        [b, new Set([c, a])],
        [c, new Set([a])],
      ]),
    );
    assert.deepEqual(circles(imports), [[a, b, c]]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
