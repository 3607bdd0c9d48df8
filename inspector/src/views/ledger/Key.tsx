// What the colours mean.

import type { Account } from "./account";

export function Key({ account: { written, survival }, ghosts }: { account: Account; ghosts: boolean }) {
  return (
    <p class="gw-ledger-key gw-label">
      <span>
        <i data-key="up" /> <i data-key="down" /> {written ? "what is left now" : "what each step adds"}, above or
        below 0
      </span>
      {written && ghosts && (
        <span>
          <i data-key="ghost" /> what was written: the difference is forgotten
        </span>
      )}
      {survival && (
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
