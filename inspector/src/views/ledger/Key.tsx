// The legend of the bars.

import type { Cell } from "../../data/anatomy";
import type { Account } from "./account";

interface Props {
  cell: Cell;
  account: Account;
  ghosts: boolean;
}

export function Key({ cell, account: { written, survival, average }, ghosts }: Props) {
  const changed = cell.features.cell_clip || cell.features.zoneout_cell;
  const forgets = cell.has("forget_gate") || changed;
  return (
    <p class="gw-ledger-key gw-label">
      <span>
        <i data-key="up" /> <i data-key="down" /> {written ? "what is left now" : "the share of each step"}, above
        or below 0
      </span>
      {written && ghosts && (
        <span>
          <i data-key="ghost" /> the original write: the difference was forgotten
        </span>
      )}
      {survival && (
        <span>
          <i data-key="survival" />{" "}
          {average
            ? "w: the weight of each candidate"
            : `∏ ${changed ? "kept" : forgets ? cell.parts.forget_gate.letter : "1"}: the fraction of a write that is left`}
        </span>
      )}
      <span>
        <i data-key="apart" /> not written by a step
      </span>
    </p>
  );
}
