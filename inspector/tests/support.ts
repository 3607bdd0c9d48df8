import assert from "node:assert/strict";

/** Random numbers from a seed (mulberry32), so that a failure can be repeated. */
export class Random {
  constructor(private state: number) {}

  /** From 0 (inclusive) to 1 (exclusive). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let z = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  /** A whole number from `low` to `high`, both inclusive. */
  whole(low: number, high: number): number {
    return low + Math.floor((high - low + 1) * this.next());
  }

  array(length: number, low: number, high: number): Float32Array {
    return Float32Array.from({ length }, () => this.between(low, high));
  }
}

/** Run a property for many seeds; a failure names the seed. */
export function forAll(property: (random: Random, seed: number) => void, seeds = 50): void {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      property(new Random(seed), seed);
    } catch (error) {
      if (error instanceof Error) error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
}

/** Whether numbers agree to a relative or an absolute difference. */
export function close(
  actual: ArrayLike<number> | number,
  expected: ArrayLike<number> | number,
  tolerance = 1e-12,
): void {
  const a = typeof actual === "number" ? [actual] : Array.from(actual);
  const b = typeof expected === "number" ? [expected] : Array.from(expected);
  assert.equal(a.length, b.length);
  a.forEach((value, k) => {
    const bound = tolerance * Math.max(1, Math.abs(b[k]));
    assert.ok(Object.is(value, b[k]) || Math.abs(value - b[k]) <= bound, `[${k}]: ${value}, expected ${b[k]}`);
  });
}
