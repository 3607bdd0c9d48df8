import { scaleLinear, scaleLog, scaleSymlog } from "d3-scale";
import { useMemo, useState } from "preact/hooks";
import { slidTo } from "../../components/sliding";
import { useWidth } from "../../components/useWidth";
import type { Horizon } from "../../data/types";
import { BottomAxis, type Frame, LeftAxis, powersOfTen } from "./axes";
import { shareText } from "./rows";

const HEIGHT = 196;
/** A smaller influence cannot be distinguished from float32 rounding. */
const FLOOR = 1e-7;

/** The fraction of an input's immediate influence that is left `lag` steps later. */
interface Curve {
  lags: number[];
  lstm: number[];
  peer: number[] | null;
}

interface MemoryProps {
  horizon: Horizon;
  /** "LSTM" or "sLSTM", and the model for comparison. */
  name: string;
  peerName: string;
}

export function MemoryHorizon({ horizon, name, peerName }: MemoryProps) {
  const [box, width] = useWidth<HTMLDivElement>();
  const [logarithmic, setLogarithmic] = useState(false);
  const [pointed, setPointed] = useState<number | null>(null);
  const curve = useMemo(() => relative(horizon), [horizon]);
  const place = pointed ?? usual(curve);
  return (
    <section class="gw-panel gw-horizon" aria-label="Memory horizon">
      <header class="gw-units-head">
        <h2>Memory horizon</h2>
        <span class="gw-horizon-key">
          <i class="gw-horizon-lstm" />
          {name}
        </span>
        {curve.peer && (
          <span class="gw-horizon-key">
            <i class="gw-horizon-peer" />
            {peerName}
          </span>
        )}
        <AxisKind logarithmic={logarithmic} onKind={setLogarithmic} />
      </header>
      <p class="gw-units-sentence" data-lag={curve.lags[place]}>
        {sentence(curve, place, name, peerName)}
      </p>
      <div ref={box} class="gw-units-drawing" style={{ height: `${HEIGHT}px` }}>
        {width > 0 && (
          <Drawing
            curve={curve}
            width={width}
            logarithmic={logarithmic}
            place={place}
            onPlace={setPointed}
            words={sentence(curve, place, name, peerName)}
          />
        )}
      </div>
    </section>
  );
}

function AxisKind({ logarithmic, onKind }: { logarithmic: boolean; onKind: (logarithmic: boolean) => void }) {
  const kinds = [
    { name: "steps, linear", value: false },
    { name: "steps, log", value: true },
  ];
  return (
    <div class="gw-segments" role="group" aria-label="Axis of the lag">
      {kinds.map(({ name, value }) => (
        <button type="button" key={name} aria-pressed={logarithmic === value} onClick={() => onKind(value)}>
          {name}
        </button>
      ))}
    </div>
  );
}

interface DrawingProps {
  curve: Curve;
  width: number;
  logarithmic: boolean;
  place: number;
  onPlace: (place: number | null) => void;
  words: string;
}

function Drawing({ curve, width, logarithmic, place, onPlace, words }: DrawingProps) {
  const frame: Frame = { left: 56, right: width - 8, top: 8, bottom: HEIGHT - 36 };
  const { lags, lstm, peer } = curve;
  const last = lags[lags.length - 1];
  const x = (logarithmic ? scaleSymlog() : scaleLinear()).domain([lags[0], last]).range([frame.left, frame.right]);
  const domain = heights(lstm);
  const y = scaleLog().domain(domain).range([frame.bottom, frame.top]);
  // Values too small for the axis are drawn below it, out of sight.
  const at = (share: number) => y(Math.max(share, domain[0] / 10));
  const path = (shares: number[]) => line(shares.map((share, k) => [x(lags[k]), at(share)]));
  const ticks = (logarithmic ? decades(last) : x.ticks(Math.max(3, Math.round(width / 90)))).map((lag) => ({
    at: x(lag),
    text: lag.toLocaleString("en"),
  }));
  const powers = powersOfTen(domain).filter((_, k, all) => all.length < 6 || (all.length - 1 - k) % 2 === 0);
  const moved = (event: KeyboardEvent) => {
    const next = slidTo(event, place, lags.length);
    if (next !== null) onPlace(next);
  };
  return (
    <svg
      width={width}
      height={HEIGHT}
      tabindex={0}
      role="slider"
      aria-label="Steps before the last"
      aria-valuemin={lags[0]}
      aria-valuemax={last}
      aria-valuenow={lags[place]}
      aria-valuetext={words}
      onKeyDown={moved}
      onPointerMove={(event) => onPlace(nearest(lags, x.invert(event.offsetX)))}
      onPointerLeave={() => onPlace(null)}
    >
      <clipPath id="gw-horizon-clip">
        <rect x={frame.left - 4} y={0} width={frame.right - frame.left + 8} height={frame.bottom} />
      </clipPath>
      <LeftAxis frame={frame} ticks={powers.map((share) => ({ at: y(share), text: shareText(share) }))} />
      <BottomAxis frame={frame} ticks={ticks} label="steps between the input and the last hidden state" />
      <g clip-path="url(#gw-horizon-clip)">
        {peer && <path class="gw-horizon-peer" d={path(peer)} />}
        <path class="gw-horizon-lstm" d={path(lstm)} />
        <line class="gw-horizon-at" x1={x(lags[place])} x2={x(lags[place])} y1={frame.top} y2={frame.bottom} />
        {peer && <circle class="gw-horizon-peer" cx={x(lags[place])} cy={at(peer[place])} r={3.5} />}
        <circle class="gw-horizon-lstm" cx={x(lags[place])} cy={at(lstm[place])} r={3.5} />
      </g>
    </svg>
  );
}

function relative({ lags, lstm, peer }: Horizon): Curve {
  const shares = (values: number[]) => values.map((value) => value / (values[0] || 1));
  return { lags, lstm: shares(lstm), peer: peer && shares(peer) };
}

function sentence({ lags, lstm, peer }: Curve, k: number, name: string, peerName: string): string {
  const after = `After ${lags[k].toLocaleString("en")} ${lags[k] === 1 ? "step" : "steps"}`;
  const inPeer = peer ? `, ${shareText(peer[k])} in the ${peerName}` : "";
  return `${after} ${shareText(lstm[k])} of the immediate influence of an input is left in the ${name}${inPeer}.`;
}

/** From the power of ten at or below the smallest relevant share to the one at or above the largest. */
function heights(shares: number[]): [number, number] {
  const counting = shares.filter((share) => share >= FLOOR);
  const low = Math.min(1e-2, ...counting);
  return [10 ** Math.floor(Math.log10(low) + 1e-9), 10 ** Math.ceil(Math.log10(Math.max(1, ...counting)) - 1e-9)];
}

/** The initial lag: the largest round one at which the LSTM still has 1%. */
function usual({ lags, lstm }: Curve): number {
  const places = [5, 10, 20, 50, 100, 200, 500].map((lag) => nearest(lags, lag));
  return places.findLast((k) => lstm[k] >= 0.01) ?? places[0];
}

function nearest(lags: number[], lag: number): number {
  let best = 0;
  lags.forEach((value, k) => {
    if (Math.abs(value - lag) < Math.abs(lags[best] - lag)) best = k;
  });
  return best;
}

function decades(last: number): number[] {
  const all = [0, ...[1, 10, 100, 1000, 10000, 100000].flatMap((power) => [power, 2 * power, 5 * power])];
  return all.filter((lag) => lag <= last && lag !== 2);
}

function line(points: [number, number][]): string {
  return `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;
}
