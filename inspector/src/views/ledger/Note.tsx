// The numbers of the step under the pointer.

import type { Axis } from "../../components/axis";
import { PointerNote } from "../../components/PointerNote";
import { fixed } from "../../format";
import { share } from "../cell/figures";
import type { Account } from "./account";
import type { Places } from "./places";

export function Note({ account, axis, places }: { account: Account; axis: Axis; places: Places | null }) {
  const hover = axis.hover.value;
  if (!hover) return null;
  const { step } = hover;
  const k = step - account.from;
  return (
    <PointerNote axis={axis} kind="gw-ledger-note">
      <div>
        <span class="gw-label">step</span> {step.toLocaleString("en")}{" "}
        <span class="gw-label">{places?.name(step)}</span>
      </div>
      {k >= 0 && k < account.shares.length ? (
        <>
          {account.average && (
            <div>
              <span class="gw-label">candidate</span>{" "}
              <span class="gw-number">{fixed(account.average.candidates[k])}</span>{" "}
              <span class="gw-label">weight</span>{" "}
              <span class="gw-number">{share(account.average.weights[k])}</span>
            </div>
          )}
          {!account.average && account.written && account.survival && (
            <div>
              <span class="gw-label">wrote</span> <span class="gw-number">{fixed(account.written[k])}</span>{" "}
              <span class="gw-label">left</span> <span class="gw-number">{share(account.survival[k])}</span>
            </div>
          )}
          <div>
            <span class="gw-label">{account.written ? "now" : "adds"}</span>{" "}
            <span class="gw-number">{fixed(account.shares[k])}</span>
          </div>
        </>
      ) : (
        <div class="gw-label">not read yet at step {account.query}</div>
      )}
    </PointerNote>
  );
}
