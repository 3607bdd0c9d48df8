// Advances two sessions of a model as WebAssembly, as c99_driver.c does: reads records of a session and its input from
// standard input, and writes of each the status, 0 or 1, and what the step gave.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const { about, load } = await import(pathToFileURL(`${folder}/model.js`));
const model = await load(readFileSync(`${folder}/model.wasm`));
const sessions = [model.session(), model.session()];
const bytes = readFileSync(0);
const records = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const given = [];
let last = new Float64Array(about.output);
for (let at = 0; at < records.length; at += 1 + about.input) {
  const session = sessions[records[at] < 0 ? -1 - records[at] : records[at]];
  if (records[at] < 0) session.reset();
  const x = records.subarray(at + 1, at + 1 + about.input);
  let status = 0;
  try {
    last = session.step(about.kind === "language model" ? x[0] : x);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    status = 1;
  }
  given.push(status, ...last);
}
process.stdout.write(new Uint8Array(new Float64Array(given).buffer));
