// The chosen ledger, and the data that it is computed from.

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
  /** null while it is loading. */
  account: Account | null;
  /** The columns of the unit in focus. */
  blocks: UnitBlocks | null;
  places: Places | null;
  /** Name of what is split. */
  name: string;
  /** The chosen step. */
  t: number;
  /** Why the chosen ledger is unavailable, in a sentence; "" if it is available. */
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

  // The old data stay until the new data are loaded: keep within their steps.
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
  // The old ledger stays in view while a new one is loading.
  const kept = useRef<Asked | null>(null);
  if (account || !kept.current) kept.current = { splits, output, account, blocks, places, name, t, failed: "" };
  return { ...kept.current, failed: ofUnit.failed || loadedHead.failed };
}
