import { useSignal } from "@preact/signals";
import { Checkpoints } from "./components/Checkpoints";
import { Header } from "./components/Header";
import { Help } from "./components/Help";
import { Status } from "./components/Status";
import { Waiting } from "./components/Waiting";
import { remember, remembered } from "./memory";
import type { State, View } from "./state";
import { Cell } from "./views/Cell";
import { Ledger } from "./views/Ledger";
import { Timeline } from "./views/Timeline";
import { Units } from "./views/Units";
import { WhatIf } from "./views/WhatIf";
import "./App.css";

const SHOW: Record<View, (props: { state: State }) => preact.JSX.Element> = {
  timeline: Timeline,
  cell: Cell,
  ledger: Ledger,
  units: Units,
  whatif: WhatIf,
};

export function App({ state }: { state: State }) {
  const asked = state.view.value;
  const Shown = SHOW[asked === "whatif" && !state.source.whatIf ? "timeline" : asked];
  return (
    <div class="gw-shell">
      <Header state={state} />
      <div class="gw-notices">
        <Trouble state={state} />
        <Intro state={state} />
        <Checkpoints state={state} />
      </div>
      <main class="gw-main">{state.recording.value ? <Shown state={state} /> : <Nothing state={state} />}</main>
      <Status state={state} />
      <Help state={state} />
    </div>
  );
}

/** Shown while there is no recording: during training there is none before the first validation. */
function Nothing({ state }: { state: State }) {
  if (!state.asked.value || state.entries.value.length)
    return (
      <Waiting state={state} what="the recording" loaded={{ failed: state.trouble.value }} place="gw-waiting" />
    );
  return (
    <div class="gw-skeleton gw-waiting">
      <p>No recording yet. The first one appears here by itself after the first validation.</p>
    </div>
  );
}

/** Storage key of the introductions that were closed, so that they stay closed. */
const READ = "gatewright-intro-read";

/** The introduction to a recording, until it is closed. */
function Intro({ state }: { state: State }) {
  const read = useSignal(remembered(READ));
  const shown = state.recording.value?.meta;
  const intro = state.entries.value.find(({ id }) => id === (shown?.origin ?? shown?.id))?.intro;
  if (!intro || read.value === intro) return null;
  const close = () => {
    read.value = intro;
    remember(READ, intro);
  };
  return (
    <div class="gw-intro" role="note">
      <p>{intro}</p>
      <button type="button" class="gw-button" onClick={close}>
        Got it
      </button>
    </div>
  );
}

function Trouble({ state }: { state: State }) {
  if (!state.trouble.value) return null;
  return (
    <div class="gw-trouble" role="alert">
      <span>{state.trouble.value}</span>
      <button type="button" class="gw-button gw-button-quiet" onClick={() => (state.trouble.value = "")}>
        Dismiss
      </button>
    </div>
  );
}
