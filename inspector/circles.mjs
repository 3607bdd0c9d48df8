// Find import circles among sources. Imports of types count as well: they say what one file knows of another.

import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Groups of files that import one another, directly or by way of others (Tarjan's algorithm). */
export function circles(imports) {
  const index = new Map();
  const lowest = new Map();
  const stack = [];
  const found = [];
  const visit = (file) => {
    index.set(file, index.size);
    lowest.set(file, index.get(file));
    stack.push(file);
    for (const other of imports.get(file) ?? []) {
      if (!index.has(other)) visit(other);
      if (stack.includes(other)) lowest.set(file, Math.min(lowest.get(file), lowest.get(other)));
    }
    if (lowest.get(file) !== index.get(file)) return;
    const group = stack.splice(stack.indexOf(file));
    if (group.length > 1 || imports.get(file)?.has(file)) found.push(group.sort());
  };
  for (const file of imports.keys()) if (!index.has(file)) visit(file);
  return found;
}

/** The sources below a folder, and which of them each one imports. */
export async function importsOf(folder) {
  const names = await readdir(folder, { recursive: true });
  const files = new Set(names.filter((name) => /\.tsx?$/.test(name)).map((name) => join(folder, name)));
  const imports = new Map();
  for (const file of files) {
    const text = await readFile(file, "utf8");
    const paths = [...text.matchAll(/(?:from|import|import\()\s*"(\.[^"]+)"/g)].map((match) =>
      join(dirname(file), match[1]),
    );
    const targets = paths.map((path) => [path, `${path}.ts`, `${path}.tsx`].find((name) => files.has(name)));
    imports.set(file, new Set(targets.filter(Boolean)));
  }
  return imports;
}
