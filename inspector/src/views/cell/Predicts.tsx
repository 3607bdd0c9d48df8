// The prediction at the chosen step, compared with the true next value.

import { useLoaded, useLoading } from "../../components/useLoaded";
import { Waiting } from "../../components/Waiting";
import type { Recording } from "../../data/recording";
import type { State } from "../../state";
import { shown } from "./context";
import { Forecast } from "./Forecast";
import { share } from "./figures";

/** How many symbols are listed. */
const MOST = 5;

interface Props {
  state: State;
  recording: Recording;
  row: number;
  t: number;
  /** Whether to show the prediction of the plain RNN. */
  peer: boolean;
}

export function Predicts({ state, recording, row, t, peer }: Props) {
  const name = recording.meta.text ? "scores" : "forecast";
  const block = peer ? `peer/${name}` : name;
  if (!recording.has(row, block)) return null;
  return (
    <section class="gw-predicts" aria-label="Prediction at this step">
      <h3>Expects next</h3>
      {recording.meta.text ? (
        <NextSymbols {...{ state, recording, row, t, block }} />
      ) : (
        <Forecast {...{ state, recording, row, t, block }} />
      )}
    </section>
  );
}

function NextSymbols({ state, recording, row, t, block }: Omit<Props, "peer"> & { block: string }) {
  const loaded = useLoading(state, () => recording.block(row, block), [recording, row, block]);
  const scores = loaded.value;
  const sequence = useLoaded(state, () => recording.block(row, "symbols"), [recording, row]);
  const { symbols } = recording.meta.text!;
  const V = symbols.length;
  if (!scores || !sequence || (t + 1) * V > scores.length)
    return <Waiting state={state} what="the prediction" loaded={loaded} place="gw-predicts-wait" />;
  const chance = Float64Array.from({ length: V }, (_, symbol) => Math.exp(scores[t * V + symbol]));
  const ranked = Array.from(chance.keys()).sort((a, b) => chance[b] - chance[a]);
  const came: number | undefined = sequence[t + 1];
  const listed = ranked.slice(0, MOST);
  const place = came === undefined ? -1 : ranked.indexOf(came);
  return (
    <>
      <ol class="gw-next">
        {listed.map((symbol) => (
          <Candidate symbol={shown(symbols, symbol)} chance={chance[symbol]} came={symbol === came} id={symbol} />
        ))}
      </ol>
      <p class="gw-label gw-came">
        {came === undefined ? (
          "The sequence ends here."
        ) : (
          <>
            What came: <b class="gw-mono">{shown(symbols, came)}</b>,{" "}
            {place === 0 ? "the likeliest" : `number ${place + 1} in the list`}, {share(chance[came])}
          </>
        )}
      </p>
    </>
  );
}

function Candidate({ symbol, chance, came, id }: { symbol: string; chance: number; came: boolean; id: number }) {
  return (
    <li data-came={came}>
      <span class="gw-mono">{symbol}</span>
      <span class="gw-chance">
        <i style={{ width: `${chance * 100}%` }} />
      </span>
      <span class="gw-number" data-next={id} data-value={chance}>
        {share(chance)}
      </span>
    </li>
  );
}
