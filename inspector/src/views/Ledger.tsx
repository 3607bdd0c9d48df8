// The memory ledger: a cell state, or an output computed from cell states, split by step.

import { useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { Axis } from "../components/axis";
import { Overview } from "../components/Overview";
import { Stage } from "../components/Stage";
import { TimeAxis } from "../components/TimeAxis";
import { Waiting } from "../components/Waiting";
import type { Cell } from "../data/anatomy";
import type { State } from "../state";
import { Average } from "./ledger/Average";
import { type Account, reach, type UnitBlocks } from "./ledger/account";
import { Bars } from "./ledger/Bars";
import { Fate } from "./ledger/Fate";
import { Key } from "./ledger/Key";
import { Note } from "./ledger/Note";
import { Question } from "./ledger/Question";
import { Sum } from "./ledger/Sum";
import { Survival } from "./ledger/Survival";
import { SymbolRow } from "./ledger/SymbolRow";
import { Tools } from "./ledger/Tools";
import { TopSteps } from "./ledger/TopSteps";
import { type Asked, useAccount } from "./ledger/useAccount";
import "./Ledger.css";

export function Ledger({ state }: { state: State }) {
  const ghosts = useSignal(true);
  const trail = useSignal<number[]>([]);
  const asked = useAccount(state);
  const { account, blocks, output, splits, t, failed } = asked;
  const { meta } = state.recording.value!;
  const ofUnit = output === null;
  const left = (step: number) => {
    if (step !== state.t.value) trail.value = [...trail.value, step];
  };
  const visit = (k: number) => {
    const before = state.t.value;
    state.goTo(k);
    left(before);
  };
  const matters = () => {
    if (account) state.zoom(...aired(reach(account, MATTERS)));
  };
  return (
    <div class="gw-ledger">
      <div class="gw-ledger-tools">
        <Question state={state} meta={meta} splits={splits} size={state.shape.value!.hidden} output={output} />
        <Tools {...{ state, trail, matters }} query={account?.query ?? t} ghosts={ofUnit ? ghosts : null} />
      </div>
      {account && !failed ? (
        <div class="gw-ledger-body">
          <div class="gw-ledger-main">
            <Chart state={state} asked={asked} account={account} ghosts={ghosts.value && ofUnit} left={left} />
            <Key cell={state.recording.value!.cell} account={account} ghosts={ghosts.value} />
            {account.shares.length === 1 && state.steps.value > 1 && <Early state={state} />}
          </div>
          <aside class="gw-ledger-side">
            <Findings state={state} asked={asked} account={account} visit={visit} />
            {blocks && <Fate blocks={blocks} t={t} />}
          </aside>
        </div>
      ) : (
        <Waiting state={state} what="the ledger" loaded={{ failed }} place="gw-ledger-wait" />
      )}
    </div>
  );
}

/** The part of all shares that "What matters" brings into view, with a margin around it. */
const MATTERS = 0.99;

function aired([from, to]: [number, number]): [number, number] {
  const air = Math.max(2, (to - from) * 0.06);
  return [from - air, to + air];
}

/** `left` is called with the step that a click on another one leaves. */
function Chart({
  state,
  asked,
  account,
  ghosts,
  left,
}: {
  state: State;
  asked: Asked;
  account: Account;
  ghosts: boolean;
  left: (step: number) => void;
}) {
  const { blocks, places, name } = asked;
  const axis = useMemo(() => new Axis(state), [state]);
  const whole = useMemo(() => blocks && course(blocks), [blocks]);
  const before = useRef(0);
  const { meta, measures } = state.recording.value!;
  const { text } = meta;
  return (
    <div
      class="gw-ledger-chart"
      onPointerDownCapture={() => (before.current = state.t.value)}
      onPointerUp={() => left(before.current)}
    >
      <Stage axis={axis}>
        <Overview axis={axis} values={whole} />
        <Survival account={account} axis={axis} letter={measures.of.survival.letter} />
        <Bars account={account} axis={axis} ghosts={ghosts} name={name} />
        {places?.symbols && text && (
          <SymbolRow axis={axis} symbols={places.symbols} names={text.symbols} query={account.query} />
        )}
        <TimeAxis axis={axis} times={places?.times ?? null} />
        <Note account={account} axis={axis} places={places} />
      </Stage>
    </div>
  );
}

/** The cell state of a unit over the sequence. */
function course({ cell, size, steps, unit }: UnitBlocks): Float32Array {
  return Float32Array.from({ length: steps }, (_, k) => cell[k * size + unit]);
}

/** At the first step there is no past to show. */
function Early({ state }: { state: State }) {
  const end = state.direction.value === "forward" ? state.steps.value - 1 : 0;
  return (
    <p class="gw-ledger-early">
      This is the first step, so there is no past to show. Choose a later step, or{" "}
      <button type="button" class="gw-button" onClick={() => state.goTo(end)}>
        go to the last step
      </button>
    </p>
  );
}

interface FindingsProps {
  state: State;
  asked: Asked;
  account: Account;
  visit: (k: number) => void;
}

function Findings({ state, asked, account, visit }: FindingsProps) {
  const { name, places, output } = asked;
  const { cell } = state.recording.value!;
  const at = `at step ${account.query.toLocaleString("en")}`;
  const [of, check] =
    output === null
      ? [`Cell state of ${name} ${at}`, `${cell.parts.cell.letter} as recorded`]
      : [`Output ${name} ${at}`, "weights · h + bias"];
  return (
    <>
      <Sum account={account} of={of} check={check} />
      {account.average && <Average cell={cell} account={account} />}
      <TopSteps cell={cell} account={account} places={places} visit={visit} />
      {output !== null && (
        <p class="gw-label">
          {convention(cell)} The output is that of the head, before{" "}
          {places?.symbols ? "softmax" : "scaling back to the table's units"}.
        </p>
      )}
    </>
  );
}

/** What is exact about the split of an output, and what is a convention. */
function convention(cell: Cell): string {
  const { layer_norm, zoneout_hidden } = cell.features;
  const c = cell.parts.cell.letter;
  const act = cell.has("bent") ? cell.parts.bent.operation!.sign : "";
  const read = layer_norm ? "n" : c;
  const through = act
    ? `For ${act}${cell.has("output_gate") ? " and the output gate" : ""} they are split in proportion to ${read}, with the factor ${act}(${read})/${read}, which is a convention.`
    : layer_norm
      ? ""
      : `Nothing bends ${c} on its way to h: the split is exact, too.`;
  return [
    `Shares of ${c} are exact.`,
    through,
    layer_norm ? "Of layer normalisation the deviation is taken as it was; shifts belong to no step." : "",
    zoneout_hidden ? "What zoneout carries of the hidden state before belongs to no step." : "",
  ]
    .filter(Boolean)
    .join(" ");
}
