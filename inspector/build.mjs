// Bundle the page into one ES module and one style sheet, with the licences of what is in them; with --check, only
// prove that what is committed is fresh.

import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const out = new URL("../src/gatewright/inspector/static/", here);

const { outputFiles, metafile } = await build({
  absWorkingDir: fileURLToPath(here),
  entryPoints: { inspector: "src/main.tsx" },
  outdir: fileURLToPath(out),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "eof",
  charset: "utf8",
  jsx: "automatic",
  jsxImportSource: "preact",
  metafile: true,
  write: false,
  logLevel: "warning",
});

const files = new Map(outputFiles.map(({ path, text }) => [path, text]));
files.set(fileURLToPath(new URL("LICENSES", out)), await licences(Object.keys(metafile.inputs)));

for (const [path, text] of files) {
  if (!process.argv.includes("--check")) {
    await mkdir(out, { recursive: true });
    await writeFile(path, text);
  } else if ((await readFile(path, "utf8").catch(() => "")) !== text) {
    console.error(`${path} is not what its sources make: run "npm run build" in inspector/`);
    process.exitCode = 1;
  }
}

/** The licence of each package that a file of the bundle comes from. */
async function licences(inputs) {
  const names = inputs.map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
  const parts = [];
  for (const name of [...new Set(names)].sort()) {
    const folder = new URL(`node_modules/${name}/`, here);
    const file = (await readdir(folder)).find((one) => /^licen[cs]e/i.test(one));
    if (!file) throw new Error(`${name} has no licence file`);
    parts.push(`${name}\n\n${(await readFile(new URL(file, folder), "utf8")).trim()}\n`);
  }
  return parts.join(`\n${"-".repeat(80)}\n\n`);
}
