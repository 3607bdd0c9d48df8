// Bundle the page into one ES module and one style sheet; with --check, only prove that what is committed is fresh.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const out = new URL("../src/gatewright/inspector/static/", here);
const check = process.argv.includes("--check");

const result = await build({
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
  write: !check,
  logLevel: "warning",
});

if (check) {
  for (const file of result.outputFiles) {
    const committed = await readFile(file.path, "utf8").catch(() => "");
    if (committed !== file.text) {
      console.error(`${file.path} is not what its sources make: run "npm run build" in inspector/`);
      process.exitCode = 1;
    }
  }
}
