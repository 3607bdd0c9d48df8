import { visible } from "../../format";
import type { State } from "../../state";
import { shareText } from "../units/rows";
import { topSymbols, type Run } from "./compare";

const SHOWN = 10;

/** At the chosen step of a text: what either run holds likely to come next. */
export function Symbols({ state, before, after }: { state: State; before: Run; after: Run | null }) {
  const t = state.t.value;
  const { symbols } = before.meta.text!;
  const rows = topSymbols(before, after, t, SHOWN);
  return (
    <section class="gw-whatif-symbols" aria-label="Next symbols">
      <h3>What comes after step {t.toLocaleString("en")}</h3>
      <table class="gw-table">
        <thead>
          <tr>
            <th scope="col">symbol</th>
            <th scope="col" colSpan={2}>original</th>
            {after && <th scope="col" colSpan={2}>changed</th>}
          </tr>
        </thead>
        <tbody>
          {rows.map(([symbol, p, q]) => (
            <tr key={symbol}>
              <th scope="row" class="gw-number">{symbol === 0 ? "unknown" : visible(symbols[symbol])}</th>
              <Likely share={p} color="var(--gw-peer)" part="before" symbol={symbol} />
              {q !== null && <Likely share={q} color="var(--gw-accent)" part="after" symbol={symbol} />}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Likely({ share, color, part, symbol }: { share: number; color: string; part: string; symbol: number }) {
  return (
    <>
      <td class="gw-whatif-likely"><i style={{ width: `${share * 100}%`, background: color }} /></td>
      <td class="gw-number" data-part={part} data-symbol={symbol} data-value={share}>{shareText(share)}</td>
    </>
  );
}
