import { useMemo } from "preact/hooks";
import type { Axis } from "../../components/axis";
import { domainOf, type Line, Lines, type Values } from "../../components/Lines";
import { useLoaded } from "../../components/useLoaded";
import { plural } from "../../format";
import type { State } from "../../state";
import { Extra } from "./Extra";
import { ahead, bandsAhead, coverage, type Forecasts, fanAt, forecastsOf, looked, median } from "./forecast";
import { Key, KeyEntry } from "./Key";
import { TracksMenu } from "./TracksMenu";
import { lineOf, tracksOf } from "./tracks";

/** The table: the true values, their forecasts, and the forecast made at the chosen step. */
export function SeriesPanel({ axis }: { axis: Axis }) {
  const { state } = axis;
  const recording = state.recording.value!;
  const row = state.row.value;
  const series = recording.meta.series!;
  const extras = state.tracks.value ?? [];
  const { target, lead } = looked(state, series);
  const loaded = useLoaded(state, () => forecastsOf(recording, row), [recording, row]);
  const table = useLoaded(state, () => recording.block(row, "columns"), [recording, row]);
  const truth = useMemo(() => table && lineOf(table, target, series.columns.length), [table, target]);
  const tracks = tracksOf(recording);
  return (
    <>
      <div class="gw-timeline-bar" data-still>
        {series.targets.length > 1 ? (
          <select
            class="gw-select"
            aria-label="Target"
            value={target}
            onChange={(event) => (state.target.value = Number(event.currentTarget.value))}
          >
            {series.targets.map((name, k) => (
              <option key={name} value={k}>
                {name}
              </option>
            ))}
          </select>
        ) : (
          <h2>{series.targets[0]}</h2>
        )}
        <Lead state={state} lead={lead} horizon={series.horizon} />
        {tracks.length > 1 && (
          <TracksMenu
            tracks={tracks.filter(({ name }) => name !== series.targets[target])}
            chosen={extras}
            choose={(names) => (state.tracks.value = names)}
          />
        )}
        <SeriesKey
          t={state.t.value}
          lead={lead}
          band={coverage(series)}
          peer={recording.meta.peer?.name ?? null}
        />
      </div>
      {loaded && truth ? (
        <Forecast axis={axis} forecasts={loaded} truth={truth} target={target} lead={lead} />
      ) : (
        <div class="gw-timeline-series-space" />
      )}
      {tracks
        .filter(({ name }) => extras.includes(name))
        .map((track) => (
          <Extra key={track.name} axis={axis} track={track} />
        ))}
    </>
  );
}

function Lead({ state, lead, horizon }: { state: State; lead: number; horizon: number }) {
  if (horizon === 1) return null;
  return (
    <label class="gw-field">
      <span class="gw-label">forecast made</span>
      <input
        class="gw-slider gw-timeline-lead-slider"
        type="range"
        min={1}
        max={horizon}
        value={lead}
        aria-label="Steps ahead"
        onInput={(event) => (state.lead.value = Number(event.currentTarget.value))}
      />
      <span class="gw-timeline-lead">{plural(lead, "step")} before</span>
    </label>
  );
}

interface SeriesKeyProps {
  t: number;
  lead: number;
  /** The nominal coverage of the band; "" without one. */
  band: string;
  peer: string | null;
}

function SeriesKey({ t, lead, band, peer }: SeriesKeyProps) {
  return (
    <Key>
      <KeyEntry name="truth" color="--gw-truth" />
      <KeyEntry name="forecast" color="--gw-hidden" title={`Median, ${plural(lead, "step")} before`} />
      {band && <KeyEntry name={`${band} band`} color="--gw-hidden" shape="band" />}
      <KeyEntry name={`from step ${t}`} color="--gw-accent" title="The forecast made at the chosen step" />
      {peer && <KeyEntry name={peer} color="--gw-peer" shape="dashed" />}
    </Key>
  );
}

interface ForecastProps {
  axis: Axis;
  forecasts: Forecasts;
  truth: Values;
  target: number;
  lead: number;
}

function Forecast({ axis, forecasts, truth, target, lead }: ForecastProps) {
  const { series, lstm, peer } = forecasts;
  const lines = useMemo(() => {
    const middle = median(series);
    const drawn: Line[] = [];
    const other = peer && ahead(peer, series, target, lead, middle);
    if (other) drawn.push({ values: other, color: "--gw-peer", dash: [4, 3], width: 1 });
    drawn.push({ values: truth, color: "--gw-truth", width: 1.1 });
    drawn.push({ values: ahead(lstm, series, target, lead, middle), color: "--gw-hidden", width: 1.6 });
    return drawn;
  }, [forecasts, truth, target, lead]);
  const bands = useMemo(() => bandsAhead(forecasts, target, lead), [forecasts, target, lead]);
  const domain = useMemo(() => {
    const edges = bands.flatMap(({ low, high }) => [low, high]);
    return domainOf([...edges, ...lines.map(({ values }) => values)].flat());
  }, [lines, bands]);
  const t = axis.state.t.value;
  const fan = useMemo(() => fanAt(forecasts, target, t), [forecasts, target, t]);
  const label = `${series.targets[target]}: truth and forecast`;
  return <Lines axis={axis} label={label} height={190} lines={lines} bands={bands} domain={domain} fan={fan} />;
}
