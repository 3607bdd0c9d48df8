// Bundle the page into one ES module and one style sheet, with the licences of what is in them and a list of these
// packages for the bill of materials of wheels; with --check, only prove that what is committed is fresh.

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
const packages = bundled(Object.keys(metafile.inputs));
files.set(fileURLToPath(new URL("LICENSES", out)), await licences(packages));
files.set(fileURLToPath(new URL("../wheels/page.json", here)), await inventory(packages));

for (const [path, text] of files) {
  if (!process.argv.includes("--check")) {
    await mkdir(out, { recursive: true });
    await writeFile(path, text);
  } else if ((await readFile(path, "utf8").catch(() => "")) !== text) {
    console.error(`${path} is not what its sources make: run "npm run build" in inspector/`);
    process.exitCode = 1;
  }
}

/** The names of the packages that files of the bundle come from, in order. */
function bundled(inputs) {
  const names = inputs.map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
  return [...new Set(names)].sort();
}

/** Name, version and licence of each package, as JSON. */
async function inventory(packages) {
  const all = [];
  for (const name of packages) {
    const { version, license } = JSON.parse(
      await readFile(new URL(`node_modules/${name}/package.json`, here), "utf8"),
    );
    all.push({ name, version, license });
  }
  return `${JSON.stringify(all, null, 2)}\n`;
}

/** The licence of each package. */
async function licences(packages) {
  const parts = [];
  for (const name of packages) {
    const folder = new URL(`node_modules/${name}/`, here);
    const file = (await readdir(folder)).find((one) => /^licen[cs]e/i.test(one));
    if (!file) throw new Error(`${name} has no licence file`);
    parts.push(`${name}\n\n${(await readFile(new URL(file, folder), "utf8")).trim()}\n`);
  }
  return parts.join(`\n${"-".repeat(80)}\n\n`);
}
