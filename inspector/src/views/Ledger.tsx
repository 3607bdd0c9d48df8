import type { State } from "../state";

export function Ledger({ state }: { state: State }) {
  return <p>{state.view.value}</p>;
}
