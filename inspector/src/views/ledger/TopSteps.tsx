// The steps that matter most now.

import { useMemo } from "preact/hooks";
import type { Cell } from "../../data/anatomy";
import { fixed } from "../../format";
import { share } from "../cell/figures";
import { type Account, largest } from "./account";
import type { Places } from "./places";

const MOST = 8;
/** Symbols shown on each side of the symbol. */
const AROUND = { unit: 4, output: 8 };

export function TopSteps({
  cell,
  account,
  places,
  visit,
}: {
  cell: Cell;
  account: Account;
  places: Places | null;
  visit: (k: number) => void;
}) {
  const steps = useMemo(() => largest(account, MOST), [account]);
  const { shares, written, survival, average, from } = account;
  const columns = columnsOf(cell, account);
  const most = steps.length ? Math.abs(shares[steps[0] - from]) : 1;
  return (
    <section class="gw-top" aria-label="Steps that matter most">
      <h3>Steps that matter most now</h3>
      <table>
        <thead>
          <tr>
            <th scope="col">step</th>
            {columns.map((name) => (
              <th scope="col">{name}</th>
            ))}
            <th scope="col">{written ? "now" : "adds"}</th>
          </tr>
        </thead>
        <tbody>
          {steps.map((k) => {
            const value = shares[k - from];
            return (
              <tr key={k} data-step={k} onClick={() => visit(k)}>
                <th scope="row">
                  <button
                    type="button"
                    title={`Go to step ${k}`}
                    onClick={(event) => {
                      event.stopPropagation();
                      visit(k);
                    }}
                  >
                    {k.toLocaleString("en")}
                  </button>
                  <Name k={k} places={places} around={written ? AROUND.unit : AROUND.output} />
                  <i
                    class="gw-top-bar"
                    data-sign={value > 0 ? "up" : "down"}
                    style={{ width: `${(100 * Math.abs(value)) / most}%` }}
                  />
                </th>
                {average && (
                  <>
                    <td class="gw-number" data-candidate={average.candidates[k - from]}>
                      {fixed(average.candidates[k - from], 2)}
                    </td>
                    <td class="gw-number" data-weight={average.weights[k - from]}>
                      {share(average.weights[k - from])}
                    </td>
                  </>
                )}
                {!average && written && (
                  <td class="gw-number" data-wrote={written[k - from]}>
                    {fixed(written[k - from], 2)}
                  </td>
                )}
                {!average && survival && (
                  <td class="gw-number" data-survival={survival[k - from]}>
                    {share(survival[k - from])}
                  </td>
                )}
                <td class="gw-number" data-share={value}>
                  {fixed(value, 3)}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {!steps.length && <p class="gw-label">Nothing is left of any step.</p>}
    </section>
  );
}

/** Names of the columns between a step and its share. */
function columnsOf(cell: Cell, { written, survival, average }: Account): string[] {
  if (average) return [cell.parts.candidate.letter, "weight"];
  return [...(written ? ["wrote"] : []), ...(survival ? ["left"] : [])];
}

function Name({ k, places, around }: { k: number; places: Places | null; around: number }) {
  if (!places?.context) return <span class="gw-label">{places?.name(k)}</span>;
  const { before, at, after } = places.context(k, around);
  return (
    <span class="gw-top-context">
      {before}
      <mark>{at}</mark>
      {after}
    </span>
  );
}
