// Responses that arrive late or in another order than their requests: the user's latest choice counts.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Source } from "../src/data/source";
import type { Entry, Meta, WhatIf } from "../src/data/types";
import { readLink } from "../src/hash";
import { Opening } from "../src/opening";
import { State } from "../src/state";
import { Draft } from "../src/views/whatif/draft";

const STEPS = 100;

function entry(id: string, more: Partial<Entry> = {}): Entry {
  return {
    id,
    note: "",
    step: null,
    score: null,
    unit: "",
    first: false,
    intro: "",
    place: "",
    name: "",
    layers: [],
    ...more,
  };
}

function meta(id: string): Meta {
  const layer = { hidden: 8, output: 8, directions: ["forward", "reverse"] };
  const rows = [STEPS, STEPS].map((steps) => ({ name: "", steps }));
  const origin = id.startsWith("whatif") ? "a" : null;
  return { id, origin, rows, layers: [layer, layer], edits: [], blocks: [{}, {}] } as unknown as Meta;
}

/** A source whose responses wait until the test sends them. */
class Slow implements Source {
  private readonly waiting: [string, (value: never) => void, (error: Error) => void][] = [];

  entries = (): Promise<Entry[]> => this.ask("entries");
  meta = (id: string): Promise<Meta> => this.ask(id);
  whatIf = (_: string, __: WhatIf): Promise<string> => this.ask("whatIf");
  diagnosis = (): never => assert.fail();
  block = (): never => assert.fail();

  private ask<T>(name: string): Promise<T> {
    return new Promise<T>((resolve, reject) => this.waiting.push([name, resolve, reject]));
  }

  get requests(): string[] {
    return this.waiting.map(([name]) => name);
  }

  /** Respond to the oldest request of a name, or to the one with an index, and let the page process it. */
  async send(name: string, value: unknown, index = 0): Promise<void> {
    const found = this.waiting.filter(([asked]) => asked === name)[index];
    assert.ok(found, `no request for "${name}"`);
    this.waiting.splice(this.waiting.indexOf(found), 1);
    if (value instanceof Error) found[2](value);
    else found[1](value as never);
    await new Promise((resume) => setImmediate(resume));
  }
}

function at({ view, row, layer, direction, t, units, range, quantity, order, each }: State) {
  const [v, r, l, d] = [view.value, row.value, layer.value, direction.value];
  return [v, r, l, d, t.value, units.value, range.value, quantity.value, order.value, each.value];
}

const LINK =
  "view=units&recording=b&row=1&layer=1&direction=reverse&t=30&units=2,5&range=20-60&quantity=hidden&order=index&each=1";
const PLACE = ["units", 1, 1, "reverse", 30, [2, 5], [20, 60], "hidden", "index", true];

/** A page with a shown recording of a, b, c. */
async function shown(hash = ""): Promise<[State, Slow, Opening]> {
  const source = new Slow();
  const state = new State(source);
  const opening = new Opening(state, hash);
  void opening.start();
  await source.send(
    "entries",
    ["a", "b", "c"].map((id) => entry(id, { first: id === "a" })),
  );
  const first = readLink(hash).recording ?? "a";
  await source.send(first, meta(first));
  return [state, source, opening];
}

test("the address is read before anything is loaded, and its place is that of the first recording", async () => {
  const source = new Slow();
  const state = new State(source);
  void new Opening(state, LINK).start();
  assert.equal(state.view.value, "units");
  await source.send("entries", [entry("a", { first: true }), entry("b")]);
  await source.send("b", meta("b"));
  assert.equal(state.recording.value?.meta.id, "b");
  assert.deepEqual(at(state), PLACE);
});

test("a view that is chosen before the entries or the recording arrive stays", async () => {
  for (const hash of [LINK, "", "view=timeline"]) {
    for (const view of ["ledger", "timeline"] as const) {
      for (const when of ["entries", "recording"]) {
        const source = new Slow();
        const state = new State(source);
        void new Opening(state, hash).start();
        if (when === "entries") state.open(view);
        await source.send("entries", [entry("b", { place: "view=cell&t=7&each=1" })]);
        if (when === "recording") state.open(view);
        await source.send("b", meta("b"));
        assert.equal(state.view.value, view, `${hash} ${when}`);
        assert.equal(state.t.value, hash === LINK ? 30 : hash ? 50 : 7);
        assert.equal(state.each.value, hash !== "view=timeline");
      }
    }
  }
});

test("a recording that is chosen before the first one arrives stays, at the place of the address", async () => {
  const source = new Slow();
  const state = new State(source);
  void new Opening(state, LINK).start();
  await source.send("entries", [entry("a"), entry("b"), entry("c")]);
  const done = state.show("c");
  await source.send("b", meta("b"));
  await source.send("c", meta("c"));
  await done;
  assert.equal(state.recording.value?.meta.id, "c");
  assert.equal(state.wanted.value, null);
  assert.deepEqual(at(state), PLACE);
});

test("a failed start is repeated with the view that the user has chosen meanwhile", async () => {
  const source = new Slow();
  const state = new State(source);
  const opening = new Opening(state, LINK);
  void opening.start();
  await source.send("entries", new Error("no server"));
  assert.equal(state.trouble.value, "no server");
  state.open("cell");
  void opening.start();
  await source.send("entries", [entry("b")]);
  await source.send("b", meta("b"));
  assert.deepEqual(at(state), ["cell", ...PLACE.slice(1)]);
  assert.equal(state.trouble.value, "");
});

test("a link that is followed later shows its recording and its place", async () => {
  const [state, source, opening] = await shown();
  assert.deepEqual([state.t.value, state.range.value], [50, [0, STEPS]]);
  opening.follow(LINK);
  await source.send("b", meta("b"));
  assert.equal(state.recording.value?.meta.id, "b");
  assert.deepEqual(at(state), PLACE);
  // What the address leaves out where it is the usual.
  opening.follow("view=cell&recording=b&row=0&layer=0&t=0&units=1&quantity=cell&order=half_life");
  assert.deepEqual(at(state), ["cell", 0, 0, "forward", 0, [1], [0, STEPS], "cell", "half_life", false]);
  // Neither an unknown recording nor a place out of bounds is shown.
  opening.follow("recording=gone&t=999&units=77&row=9");
  assert.deepEqual(source.requests, []);
  assert.deepEqual([state.recording.value?.meta.id, state.t.value, state.row.value], ["b", STEPS - 1, 1]);
  assert.deepEqual(state.units.value, [0]);
});

test("a link that is followed before the entries arrive counts, not the address at the start", async () => {
  const source = new Slow();
  const state = new State(source);
  const opening = new Opening(state, "view=cell&recording=a&t=3");
  void opening.start();
  opening.follow(LINK);
  await source.send("entries", [entry("a"), entry("b")]);
  await source.send("b", meta("b"));
  assert.deepEqual(at(state), PLACE);
});

test("what the user does while the recording of a link is loading stays", async () => {
  const [state, source, opening] = await shown();
  opening.follow(LINK);
  state.goTo(77);
  state.units.value = [6];
  state.open("ledger");
  await source.send("b", meta("b"));
  assert.equal(state.recording.value?.meta.id, "b");
  assert.deepEqual([state.view.value, state.t.value, state.units.value], ["ledger", 77, [6]]);
  assert.deepEqual([state.row.value, state.layer.value], [1, 1]);
});

test("of several choices the last one is shown, in whatever order they are made", async () => {
  const [state, source] = await shown();
  void state.show("b");
  void state.show("c");
  void state.show("b");
  const back = state.show("a");
  await source.send("b", meta("b"));
  await back;
  assert.equal(state.recording.value?.meta.id, "a");
  assert.deepEqual(source.requests, []);
  void state.show("b");
  const last = state.show("c");
  await source.send("b", new Error("b is gone"));
  await source.send("c", meta("c"));
  await last;
  assert.deepEqual([state.recording.value?.meta.id, state.trouble.value], ["c", ""]);
  // One choice right after another is done.
  void state.show("c").then(() => state.show("a"));
  await new Promise((resume) => setImmediate(resume));
  await source.send("a", meta("a"));
  assert.equal(state.recording.value?.meta.id, "a");
});

test("a recording that comes by itself does not replace one that the user is waiting for", async () => {
  const [state, source] = await shown();
  void state.show("b");
  void state.offer("c");
  await source.send("b", meta("b"));
  assert.deepEqual([state.recording.value?.meta.id, state.wanted.value], ["b", null]);
  void state.offer("c");
  void state.show("a");
  await source.send("c", meta("c"));
  await source.send("a", meta("a"));
  assert.deepEqual([state.recording.value?.meta.id, state.wanted.value], ["a", null]);
});

test("an older list of recordings does not replace a newer one", async () => {
  const [state, source] = await shown();
  const [older, newer] = [state.refresh(), state.refresh()];
  const ids = () => state.entries.value.map(({ id }) => id);
  await source.send(
    "entries",
    ["a", "b", "c", "d"].map((id) => entry(id)),
    1,
  );
  assert.deepEqual(
    (await newer).map(({ id }) => id),
    ["d"],
  );
  await source.send(
    "entries",
    ["a", "b", "c"].map((id) => entry(id)),
  );
  assert.deepEqual(await older, []);
  assert.deepEqual(ids(), ["a", "b", "c", "d"]);
});

test("the list at the start does not replace a newer one", async () => {
  const source = new Slow();
  const state = new State(source);
  void new Opening(state, "").start();
  void state.refresh();
  await source.send("entries", [entry("a"), entry("b")], 1);
  await source.send("entries", [entry("a")]);
  await source.send("b", meta("b"));
  assert.deepEqual([state.entries.value.length, state.recording.value?.meta.id], [2, "b"]);
});

test("the result of a what if is shown, unless the user has chosen another recording meanwhile", async () => {
  for (const elsewhere of [false, true]) {
    const [state, source] = await shown();
    const draft = new Draft(state);
    draft.changes.value = [{ kind: "ablate", units: "all" }];
    void draft.run();
    if (elsewhere) {
      void state.show("b");
      await source.send("b", meta("b"));
    } else {
      // This is not the user's choice.
      void state.offer("c");
      await source.send("c", meta("c"));
    }
    await source.send("whatIf", "whatif-1");
    if (!elsewhere) {
      await source.send("whatif-1", meta("whatif-1"));
      await source.send("a", meta("a"));
    }
    await source.send("entries", [entry("a"), entry("b"), entry("c"), entry("whatif-1")]);
    assert.equal(state.recording.value?.meta.id, elsewhere ? "b" : "whatif-1");
    assert.equal(state.entries.value.length, 4);
    assert.ok(draft.answers.has("whatif-1"));
    assert.equal(draft.running.value, false);
  }
});

test("a link has only the values that a recording can have", () => {
  assert.deepEqual(readLink(""), {});
  assert.deepEqual(readLink("view=no&row=-1&t=1.5&units=1,x&range=9-3&order=&each=0&column=2&t="), {
    each: false,
    column: 2,
  });
});
