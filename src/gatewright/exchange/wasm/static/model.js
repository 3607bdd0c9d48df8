// A model of Gatewright as WebAssembly, and this interface to it.
//
//   import { load } from "./model.js";
//   const session = (await load()).session();
//   const y = session.step([21.4, 3.2]); // a copy, as Float32Array or Float64Array
//
// `about` says what a step reads and gives: about.columns of a row, NaN for a missing value and the index of the value
// of a category (from 1, 0 for an unknown one), or the number of a symbol in about.symbols.

/** What the model is. */
export const about = __ABOUT__;

/** Functions of the C library that transforms of targets call. */
const env = {};
for (const name of ["exp", "expm1", "log", "log1p", "asinh", "sinh"]) env[name] = env[`${name}f`] = Math[name];

const REFUSALS = {
  "language model": ["there is no symbol of that number"],
  other: [
    "a number is NaN, infinite or too large, or one that its transform does not allow",
    "a number of a category is no index of a value",
  ],
};

/**
 * Loads the model.
 * @param {ArrayBuffer | Uint8Array | string | URL} [source] the module or its address; model.wasm next to this file
 * @returns {Promise<Model>}
 */
export async function load(source = new URL("model.wasm", import.meta.url)) {
  let bytes = source;
  if (typeof source === "string" || source instanceof URL) {
    const response = await fetch(source);
    if (!response.ok) throw new Error(`${source}: ${response.status} ${response.statusText}`);
    bytes = await response.arrayBuffer();
  }
  const { instance } = await WebAssembly.instantiate(bytes, { env });
  return new Model(instance.exports);
}

const aligned = (size) => (size + 15) & ~15;

/** A model, which any number of sessions share. */
class Model {
  #code;
  #input;
  #output;
  #next;
  #free = [];

  constructor(code) {
    this.#code = code;
    this.#input = aligned(code.free_memory());
    this.#output = this.#input + aligned(8 * about.input);
    this.#next = this.#output + aligned(8 * about.output);
    this.#reach(this.#next);
  }

  /** A new session, at the beginning. */
  session() {
    const size = aligned(this.#code.state_size());
    let at = this.#free.pop();
    if (at === undefined) {
      at = this.#next;
      this.#next += size;
      this.#reach(this.#next);
    }
    this.#code.model_reset(at);
    return new Session(this.#code, at, this.#input, this.#output, this.#free);
  }

  #reach(end) {
    const missing = end - this.#code.memory.buffer.byteLength;
    if (missing > 0) this.#code.memory.grow(Math.ceil(missing / 65536));
  }
}

/** What one stream of data has left in the model's states. */
class Session {
  #code;
  #at;
  #input;
  #output;
  #free;

  constructor(code, at, input, output, free) {
    this.steps = 0;
    this.#code = code;
    this.#at = at;
    this.#input = input;
    this.#output = output;
    this.#free = free;
  }

  /** Puts the session to the beginning. */
  reset() {
    this.#require();
    this.#code.model_reset(this.#at);
    this.steps = 0;
  }

  /**
   * Advances by one step.
   * @param {number | ArrayLike<number>} x a symbol, or a row
   * @returns {Float32Array | Float64Array} what the model gives; for a forecaster (horizon, targets, quantiles)
   * @throws {RangeError} if the input is refused; the session has not changed
   */
  step(x) {
    this.#require();
    const status = about.kind === "language model" ? this.#symbol(x) : this.#row(x);
    if (status) {
      const refusals = REFUSALS[about.kind] ?? REFUSALS.other;
      throw new RangeError(refusals[status - 1]);
    }
    this.steps += 1;
    const forecasts = about.kind === "forecaster" && about.number === "float64";
    return this.#view(forecasts, this.#output, about.output).slice();
  }

  /** Gives the memory of the session back. */
  close() {
    this.#require();
    this.#free.push(this.#at);
    this.#at = 0;
  }

  #symbol(x) {
    if (!Number.isInteger(x)) throw new RangeError("a symbol is a whole number");
    return this.#code.model_step(this.#at, x, this.#output);
  }

  #row(x) {
    if (x.length !== about.input) throw new RangeError(`a row has ${about.input} numbers, not ${x.length}`);
    this.#view(about.number === "float64", this.#input, about.input).set(x);
    return this.#code.model_step(this.#at, this.#input, this.#output);
  }

  // Made at each call: memory that grows leaves earlier views behind.
  #view(double, at, count) {
    return new (double ? Float64Array : Float32Array)(this.#code.memory.buffer, at, count);
  }

  #require() {
    if (!this.#at) throw new Error("the session is closed");
  }
}
