import { visible } from "../../format";
import type { State } from "../../state";
import { shareText } from "../units/rows";
import { type Run, topSymbols } from "./compare";

/** Rows of the table. */
const SHOWN = 10;
/** Characters that are shown before the chosen step. */
const CONTEXT = 40;

/** The likeliest next symbols of both runs at the chosen step of a text. */
export function Symbols({ state, before, after }: { state: State; before: Run; after: Run | null }) {
  const t = state.t.value;
  const name = (symbol: number) => (symbol === 0 ? "unknown" : visible(before.meta.text!.symbols[symbol]));
  const text = Array.from(before.symbols!.subarray(Math.max(0, t + 1 - CONTEXT), t + 1), (symbol) =>
    symbol === 0 ? "▯" : name(symbol),
  );
  const came = before.symbols![t + 1];
  return (
    <section class="gw-whatif-symbols" aria-label="Next characters">
      <h3>What comes next, after step {t.toLocaleString("en")}</h3>
      <p class="gw-number gw-whatif-context">
        {text.join("")}
        <i aria-hidden="true" />
      </p>
      <table class="gw-table">
        <thead>
          <tr>
            <th scope="col">character</th>
            <th scope="col" colSpan={2}>
              original
            </th>
            {after && (
              <th scope="col" colSpan={2}>
                changed
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {topSymbols(before, after, t, SHOWN).map(([symbol, p, q]) => (
            <tr key={symbol}>
              <th scope="row">
                <span class="gw-number">{name(symbol)}</span>
                {symbol === came && <span class="gw-chip">came</span>}
              </th>
              <Likely share={p} color="var(--gw-peer)" part="before" symbol={symbol} />
              {q !== null && <Likely share={q} color="var(--gw-accent)" part="after" symbol={symbol} />}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

interface LikelyProps {
  share: number;
  color: string;
  part: "before" | "after";
  symbol: number;
}

function Likely({ share, color, part, symbol }: LikelyProps) {
  return (
    <>
      <td class="gw-whatif-likely">
        <i style={{ width: `${share * 100}%`, background: color }} />
      </td>
      <td class="gw-number" data-part={part} data-symbol={symbol} data-value={share}>
        {shareText(share)}
      </td>
    </>
  );
}
