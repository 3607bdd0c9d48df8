// The cell with the numbers of one step running through it.

import { useSignal } from "@preact/signals";
import { useId, useMemo, useRef } from "preact/hooks";
import { useLoaded, useLoading } from "../components/useLoaded";
import { Waiting } from "../components/Waiting";
import type { State } from "../state";
import { Arithmetic } from "./cell/Arithmetic";
import { CaptionArea } from "./cell/CaptionArea";
import { Drawing } from "./cell/Drawing";
import { Equations } from "./cell/Equations";
import { leastWidth } from "./cell/geometry";
import { type Input, useInput } from "./cell/input";
import type { Pointing } from "./cell/Piece";
import { Plain } from "./cell/Plain";
import { Predicts } from "./cell/Predicts";
import type { Spot } from "./cell/parts";
import { type Player, usePlayer } from "./cell/play";
import { Reads } from "./cell/Reads";
import { type Course, Scrubber } from "./cell/Scrubber";
import { type Blocks, isPatched, isSetAnew, largestCell, loadBlocks, stepBefore, unitStep } from "./cell/scene";
import { Transport } from "./cell/Transport";
import { inSight, UnitPicker } from "./cell/UnitPicker";
import { Wide } from "./cell/Wide";
import "./Cell.css";

export function Cell({ state }: { state: State }) {
  const root = useRef<HTMLDivElement>(null);
  const player = usePlayer(state, root);
  const recording = state.recording.value;
  const [row, layer, direction] = [state.row.value, state.layer.value, state.direction.value];
  const loaded = useLoading(state, () => (recording ? loadBlocks(recording, row, layer, direction) : null), [
    recording,
    row,
    layer,
    direction,
  ]);
  return (
    <div ref={root} class="gw-cell">
      {loaded.value && !loaded.failed ? (
        <Step state={state} blocks={loaded.value} player={player} />
      ) : (
        <Waiting state={state} what="the cell" loaded={loaded} place="gw-cell-wait" />
      )}
    </div>
  );
}

function Step({ state, blocks, player }: { state: State; blocks: Blocks; player: Player }) {
  const plain = useSignal(false);
  const { recording, row, steps, size } = blocks;
  const { peer } = recording.meta;
  // The blocks of before stay until the new ones are there: keep within them.
  const t = Math.min(state.t.value, steps - 1);
  const input = useInput(state, blocks, t);
  const units = inSight(state.units.value, size);
  const picked = units.length ? units : [0];
  const focus = picked.includes(state.unit.value) ? state.unit.value : picked[picked.length - 1];
  const hidden = useLoaded(
    state,
    () => (plain.value && peer ? (recording.block(row, "peer/hidden") as Promise<Float32Array>) : null),
    [recording, row, plain.value],
  );
  const plainRnn =
    plain.value && peer && hidden && hidden.length === steps * peer.hidden ? { peer, hidden } : null;
  const course: Course = plainRnn
    ? { values: plainRnn.hidden, size: plainRnn.peer.hidden, steps, part: "hidden", cell: recording.cell }
    : { values: blocks.cell, size, steps, part: "cell", cell: recording.cell };
  return (
    <>
      <div class="gw-cell-tools">
        <Transport state={state} player={player} />
        <UnitPicker state={state} blocks={blocks} units={picked} t={t} />
        {peer && (
          <div class="gw-segments gw-kind" role="group" aria-label="Which cell">
            <button type="button" aria-pressed={!plain.value} onClick={() => (plain.value = false)}>
              {recording.cell.name}
            </button>
            <button type="button" aria-pressed={plain.value} onClick={() => (plain.value = true)}>
              plain RNN
            </button>
          </div>
        )}
      </div>
      <Scrubber state={state} course={course} unit={Math.min(focus, course.size - 1)} t={t} />
      <div class="gw-cell-body">
        {plainRnn ? (
          <Plain
            state={state}
            recording={recording}
            {...plainRnn}
            units={picked}
            focus={focus}
            t={t}
            x={input.brief}
            playing={player.playing.value}
          />
        ) : (
          <Shown blocks={blocks} units={picked} focus={focus} t={t} input={input} playing={player.playing.value} />
        )}
        <aside class="gw-cell-side">
          <Reads state={state} recording={recording} row={row} t={t} />
          {input.note && <p class="gw-label gw-cell-note">{input.note}</p>}
          <Predicts state={state} recording={recording} row={row} t={t} peer={plainRnn !== null} />
          {!plainRnn && <Equations cell={recording.cell} />}
        </aside>
      </div>
    </>
  );
}

function Shown({
  blocks,
  units,
  focus,
  t,
  input,
  playing,
}: {
  blocks: Blocks;
  units: readonly number[];
  focus: number;
  t: number;
  input: Input;
  playing: boolean;
}) {
  const hover = useSignal<Spot | null>(null);
  const fixed = useSignal<Spot | null>(null);
  const { kind: cell } = blocks;
  const pointing: Pointing = { cell, hover, fixed, captionId: useId() };
  const key = units.join();
  const largest = useMemo(() => new Map(units.map((unit) => [unit, largestCell(blocks, unit)])), [blocks, key]);
  const numbers = units.map((unit) => unitStep(blocks, t, unit));
  const inFocus = numbers.find((unit) => unit.unit === focus)!;
  const before = blocks.direction === "forward" ? "t−1" : "t+1";
  const last = stepBefore(blocks, t);
  const known = last === null ? "initial state" : `step ${last.toLocaleString("en")}`;
  // In reverse the step before is the one after: say so.
  const read = blocks.direction === "forward" || last === null ? [known] : ["previous", `read: ${known}`];
  const byHand = blocks.edits.some((edit) => edit.t === t && units.includes(edit.unit));
  const anew = units.some((unit) => isSetAnew(blocks, t, unit));
  const patched = units.some((unit) => isPatched(blocks, t, unit));
  const named = {
    before: byHand ? [...read, "then set by hand"] : anew ? [...read, "then set anew"] : read,
    now: [`step ${t.toLocaleString("en")}`, ...(patched ? ["h is patched"] : [])],
  };
  const letGo = (event: KeyboardEvent) => {
    if (event.key === "Escape") hover.value = fixed.value = null;
  };
  return (
    <div class="gw-cell-main" onKeyDown={letGo}>
      <Wide
        least={leastWidth(cell)}
        draw={(width, scale) => (
          <Drawing
            units={numbers}
            focus={inFocus}
            x={input.brief}
            up={input.up}
            {...{ width, scale, largest, before, named, playing, pointing }}
          />
        )}
      />
      <CaptionArea
        pointing={pointing}
        playing={playing}
        facts={{
          blocks,
          t,
          units: numbers,
          focus: inFocus,
          inputs: input.count,
          reads: input.reads,
          goesTo: input.goesTo,
        }}
      />
      <Arithmetic units={numbers} focus={inFocus} before={before} pointing={pointing} />
    </div>
  );
}
