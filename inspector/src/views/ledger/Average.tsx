// The check of a cell state that is a weighted average: its weights add up to 1.

import type { Cell } from "../../data/anatomy";
import { fixed } from "../../format";
import type { Account } from "./account";

export function Average({ cell, account: { average } }: { cell: Cell; account: Account }) {
  const { weights, initial } = average!;
  const steps = weights.reduce((sum, weight) => sum + weight, 0);
  const [c, g] = [cell.parts.cell.letter, cell.parts.candidate.letter];
  return (
    <p class="gw-label gw-average">
      A weighted average: {c} = Σ w<sub>k</sub> {g}
      <sub>k</sub>, with no weight below 0. The weights of the steps are{" "}
      <span class="gw-number" data-average="steps" data-value={steps}>
        {fixed(steps, 4)}
      </span>
      , that of the initial state{" "}
      <span class="gw-number" data-average="initial" data-value={initial}>
        {fixed(initial, 4)}
      </span>
      , together{" "}
      <span class="gw-number" data-average="sum" data-value={steps + initial}>
        {fixed(steps + initial, 4)}
      </span>
      .
    </p>
  );
}
