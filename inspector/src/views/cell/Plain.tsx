// A plain RNN on the same sequence, for comparison.

import { useLoaded } from "../../components/useLoaded";
import type { Recording } from "../../data/recording";
import type { Horizon, PeerMeta } from "../../data/types";
import { plural } from "../../format";
import type { State } from "../../state";
import { figure, share } from "./figures";
import { LEAST_WIDTH } from "./geometry";
import { LetterInText } from "./Letter";
import { PlainDrawing, type PlainStep } from "./PlainDrawing";
import { Wide } from "./Wide";

export function Plain({
  state,
  recording,
  peer,
  hidden,
  units,
  focus,
  t,
  x,
  playing,
}: {
  state: State;
  recording: Recording;
  peer: PeerMeta;
  /** (T, hidden size of the plain RNN). */
  hidden: Float32Array;
  units: readonly number[];
  focus: number;
  t: number;
  x: string;
  playing: boolean;
}) {
  const diagnosis = useLoaded(state, () => recording.diagnosis(), [recording]);
  const there = units.filter((unit) => unit < peer.hidden);
  const numbers = (there.length ? there : [0]).map(
    (unit): PlainStep => ({
      unit,
      before: t > 0 ? hidden[(t - 1) * peer.hidden + unit] : NaN,
      hidden: hidden[t * peer.hidden + unit],
    }),
  );
  const inFocus = numbers.find((unit) => unit.unit === focus) ?? numbers[numbers.length - 1];
  return (
    <div class="gw-cell-main">
      <Wide
        least={LEAST_WIDTH}
        draw={(width, scale) => <PlainDrawing {...{ width, scale, x, playing }} units={numbers} focus={inFocus} />}
      />
      <div class="gw-caption">
        <p class="gw-caption-text">
          <b>{peer.name}: one layer, one state.</b> All that it remembers is h, {plural(peer.hidden, "number")},
          and each step computes h anew: it weights the old h and the input x, adds a bias, and squashes the sum
          with tanh. There is no gate that could say “keep this” or “ignore that”, and no line on which a number
          could pass unchanged. So new input overwrites what it read long ago. Unit {inFocus.unit} went from{" "}
          {figure(inFocus.before)} to {figure(inFocus.hidden)}.
        </p>
        <p class="gw-label">{diagnosis?.horizon ? faded(diagnosis.horizon, recording.cell.name) : ""}</p>
      </div>
      <div class="gw-arithmetic">
        <table>
          <tbody>
            {(["before", "hidden"] as const).map((name) => (
              <tr>
                <th scope="row">
                  <LetterInText letter="h" sub={name === "before" ? "t−1" : "t"} tint="var(--gw-hidden)" />{" "}
                  {name === "before" ? "before" : "after: tanh(W x + U h + b)"}
                </th>
                <td class="gw-numbers" style={{ "--tint": "var(--gw-hidden)" }}>
                  {numbers.map((unit) => (
                    <span
                      data-focus={unit === inFocus}
                      data-part={`peer_${name}`}
                      data-unit={unit.unit}
                      data-value={unit[name]}
                    >
                      {figure(unit[name])}
                    </span>
                  ))}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

/** The plain RNN and the LSTM are compared where the plain RNN keeps this fraction of an input's influence. */
const LOST = 0.05;

/** A sentence that compares the remaining influence of an input on h in both. */
function faded({ lags, lstm, peer }: Horizon, name: string): string {
  const k = peer ? peer.findIndex((size) => size <= LOST * peer[0]) : -1;
  if (!peer || k < 1) return "";
  return (
    `Measured on this sequence: ${plural(lags[k], "step")} after an input, ${share(peer[k] / peer[0])} of its ` +
    `influence on h is left in the plain RNN, and ${share(lstm[k] / lstm[0])} in the ${name}.`
  );
}
