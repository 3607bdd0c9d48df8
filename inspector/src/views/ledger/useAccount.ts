// The ledger that is asked for, and what it was made from.

import { useMemo, useRef } from "preact/hooks";
import { useLoading } from "../../components/useLoaded";
import type { State } from "../../state";
import { shown } from "../cell/context";
import {
  type Account,
  canSplitHead,
  headAccount,
  loadHead,
  loadUnit,
  type UnitBlocks,
  unitAccount,
} from "./account";
import { type Places, usePlaces } from "./places";
import { outputOf } from "./readout";

export interface Asked {
  /** Whether outputs of the head can be split here, and which one is; null for a cell state. */
  splits: boolean;
  output: number | null;
  /** null while it is on its way. */
  account: Account | null;
  /** The columns of the unit in focus. */
  blocks: UnitBlocks | null;
  places: Places | null;
  /** What is split, in a word. */
  name: string;
  /** The chosen step. */
  t: number;
  /** Why there is none of what is asked for now, in a sentence; "" for no reason. */
  failed: string;
}

export function useAccount(state: State): Asked {
  const recording = state.recording.value!;
  const { meta } = recording;
  const [row, layer, direction, unit] = [
    state.row.value,
    state.layer.value,
    state.direction.value,
    state.unit.value,
  ];
  const places = usePlaces(state, recording, row) ?? null;
  const place = [recording, row, layer, direction];
  const ofUnit = useLoading(state, () => loadUnit(recording, row, layer, direction, unit), [...place, unit]);
  const blocks = ofUnit.value ?? null;
  const splits = canSplitHead(recording, row, layer, direction);
  const asked = splits ? state.readout.value : null;
  const ofHead = asked !== null;
  const loadedHead = useLoading(state, () => (ofHead ? loadHead(recording, row, layer) : null), [
    ...place,
    ofHead,
  ]);
  const loaded = loadedHead.value;
  const head = loaded?.recording === recording && loaded.row === row ? loaded : null;

  // What was loaded before stays until the new is there: keep within it.
  const last = Math.min(state.steps.value, blocks?.steps ?? Infinity) - 1;
  const t = Math.min(state.t.value, last);
  const query = Math.min(state.held.value ?? t, last);
  const output = asked !== null && head ? outputOf(asked, head, query, places?.symbols?.[query + 1]) : null;
  const account = useMemo(() => {
    if (!ofHead) return blocks && unitAccount(blocks, query);
    return head && output !== null ? headAccount(head, output, query) : null;
  }, [ofHead, blocks, head, output, query]);
  const name =
    output === null
      ? `unit ${blocks?.unit ?? unit}`
      : meta.text
        ? `“${shown(meta.text.symbols, output)}”`
        : meta.readouts[output];
  // While another is on its way, what there was stays in sight.
  const kept = useRef<Asked | null>(null);
  if (account || !kept.current) kept.current = { splits, output, account, blocks, places, name, t, failed: "" };
  return { ...kept.current, failed: ofUnit.failed || loadedHead.failed };
}
