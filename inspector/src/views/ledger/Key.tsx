// The legend of the bars.

import type { Account } from "./account";

export function Key({ account: { written, survival }, ghosts }: { account: Account; ghosts: boolean }) {
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
          <i data-key="survival" /> ∏ f: the fraction of a write that is left
        </span>
      )}
      <span>
        <i data-key="apart" /> not written by a step
      </span>
    </p>
  );
}
