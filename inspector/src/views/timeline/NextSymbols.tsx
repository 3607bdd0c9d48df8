import { useLoaded } from "../../components/useLoaded";
import type { Recording } from "../../data/recording";
import type { Numbers } from "../../data/source";
import { fixed, short, visible } from "../../format";
import type { State } from "../../state";

const BEST = 5;
/** CSS pixels of a bar for probability 1. */
const BAR = 72;

interface Loaded {
  symbols: Numbers;
  scores: Numbers;
  /** Log-probabilities of the plain RNN. */
  other: Numbers | null;
}

async function load(recording: Recording, row: number): Promise<Loaded> {
  const [symbols, scores, other] = await Promise.all([
    recording.block(row, "symbols"),
    recording.block(row, "scores"),
    recording.has(row, "peer/scores") ? recording.block(row, "peer/scores") : null,
  ]);
  return { symbols, scores, other };
}

/** The likeliest symbols after the chosen step, and the true one. */
export function NextSymbols({ state }: { state: State }) {
  const recording = state.recording.value!;
  const row = state.row.value;
  const loaded = useLoaded(state, () => load(recording, row), [recording, row]);
  if (!loaded) return null;
  const names = recording.meta.text!.symbols;
  const { peer } = recording.meta;
  const { symbols, scores, other } = loaded;
  const t = state.t.value;
  const likely = (from: Numbers, symbol: number) => Math.exp(from[t * names.length + symbol]);
  const came = t + 1 < symbols.length ? symbols[t + 1] : null;
  return (
    <section>
      <h3>After “{visible(names[symbols[t]])}”, next likely</h3>
      <table class="gw-table gw-timeline-next">
        <thead>
          <tr>
            <th scope="col">symbol</th>
            <th scope="col">probability</th>
            {other && peer && <th scope="col">{peer.name}</th>}
          </tr>
        </thead>
        <tbody>
          {listed([...names.keys()], (symbol) => likely(scores, symbol), came).map((symbol) => (
            <tr key={symbol} data-came={symbol === came || undefined} data-value={likely(scores, symbol)}>
              <th scope="row">
                <kbd>{visible(names[symbol])}</kbd>
                {symbol === came && <span class="gw-label">came</span>}
              </th>
              <td>
                <span class="gw-timeline-next-bar" style={{ width: `${likely(scores, symbol) * BAR}px` }} />
                {probability(likely(scores, symbol))}
              </td>
              {other && peer && <td>{probability(likely(other, symbol))}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The likeliest symbols, and the true one if it is not among them. */
function listed(symbols: number[], likely: (symbol: number) => number, came: number | null): number[] {
  const best = symbols.sort((a, b) => likely(b) - likely(a)).slice(0, BEST);
  return came === null || best.includes(came) ? best : [...best, came];
}

function probability(p: number): string {
  return p < 0.005 ? short(p) : fixed(p, 2);
}
