// The check that nothing is missing: all shares add up to the cell state.

import { fixed, plural } from "../../format";
import type { Account } from "./account";

export function Sum({ account, of, check }: { account: Account; of: string; check: string }) {
  const { shares, initial, edited, rest, others, bias, sum, total, written } = account;
  const steps = sum - initial - edited - rest - others - bias;
  return (
    <section class="gw-sum" aria-label="Sum of all shares">
      <h3>{of}</h3>
      <table>
        <tbody>
          <Line name={`remainder of ${plural(shares.length, "write")}`} value={steps} id="steps" />
          <Line name="remainder of the initial state" value={initial} id="initial" />
          {edited !== 0 && <Line name="remainder of manual changes" value={edited} id="edited" />}
          {rest !== 0 && <Line name="of no step" value={rest} id="rest" />}
          {others !== 0 && <Line name="hidden states of other layers" value={others} id="others" />}
          {!written && <Line name="bias of the head" value={bias} id="bias" />}
          <Line name="sum" value={sum} id="sum" strong />
          <Line name={check} value={total} id="total" />
        </tbody>
      </table>
      <p class="gw-label" data-sum="difference" data-value={sum - total}>
        Difference {difference(sum - total)}: the last digits of 32-bit numbers.
      </p>
    </section>
  );
}

function difference(value: number): string {
  return value === 0 ? "0" : value.toExponential(0).replace("-", "−").replace("e-", "e−");
}

function Line({ name, value, id, strong }: { name: string; value: number; id: string; strong?: boolean }) {
  return (
    <tr data-strong={strong}>
      <th scope="row">{name}</th>
      <td class="gw-number" data-sum={id} data-value={value}>
        {fixed(value, 4)}
      </td>
    </tr>
  );
}
