// The memory ledger: where a cell state, or an output made of cell states, comes from, step by step.

import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { Axis } from "../components/axis";
import { Overview } from "../components/Overview";
import { Stage } from "../components/Stage";
import { TimeAxis } from "../components/TimeAxis";
import { useLoaded } from "../components/useLoaded";
import type { Direction } from "../data/types";
import type { State } from "../state";
import { shown } from "./cell/context";
import { canSplitHead, headAccount, loadHead, loadUnit, reach, unitAccount, type Account } from "./ledger/account";
import { Bars } from "./ledger/Bars";
import { Fate } from "./ledger/Fate";
import { Note } from "./ledger/Note";
import { usePlaces, type Places } from "./ledger/places";
import { Question } from "./ledger/Question";
import { outputOf } from "./ledger/readout";
import { Sum } from "./ledger/Sum";
import { Survival } from "./ledger/Survival";
import { SymbolRow } from "./ledger/SymbolRow";
import { Tools, type Trail } from "./ledger/Tools";
import { TopSteps } from "./ledger/TopSteps";
import "./Ledger.css";

/** So much of all shares is brought into sight by "what matters". */
const MATTERS = 0.99;

export function Ledger({ state }: { state: State }) {
  const axis = useMemo(() => new Axis(state), [state]);
  const ghosts = useSignal(true);
  const trail = useSignal<number[]>([]);
  const recording = state.recording.value!;
  const [row, layer, direction, unit] = [state.row.value, state.layer.value, state.direction.value, state.unit.value];
  const places = usePlaces(state, recording, row);
  const blocks = useLoaded(state, () => loadUnit(recording, row, layer, direction, unit), [recording, row, layer, direction, unit]);
  const splits = canSplitHead(recording, row, layer, direction);
  const asked = splits ? state.readout.value : null;
  const head = useLoaded(state, () => (asked === null ? null : loadHead(recording, row, layer)), [recording, row, layer, asked === null]);

  const last = Math.min(state.steps.value, blocks?.steps ?? Infinity) - 1;
  const t = Math.min(state.t.value, last);
  const query = Math.min(state.held.value ?? t, last);
  const output = asked !== null && head ? outputOf(asked, head, query, places?.symbols?.[query + 1]) : null;
  const account = useMemo(
    () => (
      asked === null ? blocks && unitAccount(blocks, query)
      : head && output !== null ? headAccount(head, output, query)
      : null
    ),
    [asked === null, blocks, head, output, query],
  );
  const whole = useMemo(
    () => blocks && Float32Array.from({ length: blocks.steps }, (_, k) => blocks.cell[k * blocks.size + blocks.unit]),
    [blocks],
  );

  const { meta } = recording;
  const name = output === null ? `unit ${unit}` : meta.text ? `“${shown(meta.text.symbols, output)}”` : meta.readouts[output];
  const walk: Trail = { trail, visit: (k) => visit(state, trail.value, k, (steps) => (trail.value = steps)) };
  return (
    <div class="gw-ledger">
      <div class="gw-ledger-tools">
        <Question state={state} meta={meta} splits={splits} size={meta.layers[layer].hidden} output={output} />
        <Tools state={state} query={query} walk={walk} ghosts={asked === null ? ghosts : null}
          matters={() => account && state.zoom(...aired(reach(account, MATTERS)))} />
      </div>
      <div class="gw-ledger-body">
        <div class="gw-ledger-main" onPointerUpCapture={() => remember(state, walk)}>
          {account ? (
            <Stage axis={axis}>
              <Overview axis={axis} values={whole ?? null} />
              <Survival account={account} axis={axis} />
              <Bars account={account} axis={axis} ghosts={ghosts.value && asked === null} name={name} />
              {places?.symbols && <SymbolRow axis={axis} symbols={places.symbols} names={meta.text!.symbols} query={query} />}
              <TimeAxis axis={axis} times={places?.times ?? null} />
              <Note account={account} axis={axis} places={places ?? null} />
            </Stage>
          ) : (
            <div class="gw-skeleton gw-ledger-wait" />
          )}
          <Key account={account ?? null} ghosts={ghosts.value} />
          {account?.shares.length === 1 && last > 0 && <Early state={state} direction={direction} />}
          {blocks && <Fate blocks={blocks} t={t} />}
        </div>
        <aside class="gw-ledger-side">{account && <Findings account={account} name={name} places={places ?? null} walk={walk} />}</aside>
      </div>
    </div>
  );
}

/** At the first step there is no past to show. */
function Early({ state, direction }: { state: State; direction: Direction }) {
  const end = direction === "forward" ? state.steps.value - 1 : 0;
  return (
    <p class="gw-ledger-early">
      Nothing was read before this step, so all that the unit holds is from here. Choose a later step, or{" "}
      <button type="button" class="gw-button" onClick={() => state.goTo(end)}>
        go to the last one read
      </button>
    </p>
  );
}

/** Some room around what matters. */
function aired([from, to]: [number, number]): [number, number] {
  const air = Math.max(2, (to - from) * 0.06);
  return [from - air, to + air];
}

function visit(state: State, trail: readonly number[], k: number, keep: (trail: number[]) => void): void {
  if (k === state.t.value) return;
  keep([...trail, state.t.value]);
  state.goTo(k);
}

/** A click on the stage goes to a step by itself; what is left to do is to keep the way back. */
function remember(state: State, { trail }: Trail): void {
  const before = state.t.value;
  queueMicrotask(() => {
    if (state.t.value !== before) trail.value = [...trail.value, before];
  });
}

function Key({ account, ghosts }: { account: Account | null; ghosts: boolean }) {
  return (
    <p class="gw-ledger-key gw-label">
      <span>
        <i data-key="up" /> <i data-key="down" /> {account?.written ? "what is left now, above or below 0" : "what each step adds, above or below 0"}
      </span>
      {account?.written && ghosts && (
        <span>
          <i data-key="ghost" /> what was written: the difference is forgotten
        </span>
      )}
      {account?.survival && (
        <span>
          <i data-key="survival" /> ∏ f: the part of a write that is left
        </span>
      )}
      <span>
        <i data-key="apart" /> what no step wrote
      </span>
    </p>
  );
}

function Findings({ account, name, places, walk }: { account: Account; name: string; places: Places | null; walk: Trail }) {
  const at = account.query.toLocaleString("en");
  return account.written ? (
    <>
      <Sum account={account} of={`Cell state of ${name} at step ${at}`} check="c as recorded" />
      <TopSteps account={account} places={places} visit={walk.visit} />
    </>
  ) : (
    <>
      <Sum account={account} of={`Output ${name} at step ${at}`} check="head computed from h" />
      <TopSteps account={account} places={places} visit={walk.visit} />
      <p class="gw-label">
        Shares of c are exact. On the way from c through tanh and the output gate to h they are split in proportion, by
        tanh(c)/c: that is a convention. The output is the head's own, before {places?.symbols ? "softmax" : "it is scaled back to the table's units"}.
      </p>
    </>
  );
}
