// What the model reads at the chosen step: a symbol among others, or a row of the table.

import { useLoaded, useLoading } from "../../components/useLoaded";
import { Waiting } from "../../components/Waiting";
import type { Recording } from "../../data/recording";
import { short, time } from "../../format";
import type { State } from "../../state";
import { contextOf } from "./context";

/** Symbols before the one in the middle, and after it. */
const AROUND = 15;

export function Reads({
  state,
  recording,
  row,
  t,
}: {
  state: State;
  recording: Recording;
  row: number;
  t: number;
}) {
  const { text, series } = recording.meta;
  return (
    <section class="gw-reads" aria-label="Input at this step">
      <h3>Reads</h3>
      {text ? (
        <Symbols state={state} recording={recording} row={row} t={t} />
      ) : (
        <Columns
          state={state}
          recording={recording}
          row={row}
          t={t}
          block={series ? "columns" : "inputs"}
          names={series ? series.columns : recording.meta.inputs}
        />
      )}
    </section>
  );
}

interface Part {
  state: State;
  recording: Recording;
  row: number;
  t: number;
}

function Symbols({ state, recording, row, t }: Part) {
  const loaded = useLoading(state, () => recording.block(row, "symbols"), [recording, row]);
  const sequence = loaded.value;
  if (!sequence || t >= sequence.length)
    return <Waiting state={state} what="the input" loaded={loaded} place="gw-reads-wait" />;
  const { before, at, after } = contextOf(recording.meta.text!.symbols, sequence, t, AROUND, AROUND);
  return (
    <p class="gw-context" data-symbol={sequence[t]}>
      <span class="gw-context-before">{before}</span>
      <mark>{at}</mark>
      <span class="gw-context-after">{after}</span>
    </p>
  );
}

function Columns({ state, recording, row, t, block, names }: Part & { block: string; names: readonly string[] }) {
  const { series } = recording.meta;
  const loaded = useLoading(state, () => recording.block(row, block), [recording, row, block]);
  const values = loaded.value;
  const times = useLoaded(state, () => (series?.timed ? recording.block(row, "times") : null), [recording, row]);
  const width = recording.meta.blocks[row][block]?.shape[1] ?? 0;
  if (!values || (t + 1) * width > values.length)
    return <Waiting state={state} what="the input" loaded={loaded} place="gw-reads-wait" />;
  return (
    <>
      {times && series && <p class="gw-when">{time(times[t], series.step)}</p>}
      <div class="gw-columns">
        <table>
          <tbody>
            {Array.from({ length: width }, (_, k) => (
              <tr>
                <th scope="row">{names[k] ?? `input ${k}`}</th>
                <td class="gw-number" data-column={names[k]} data-value={values[t * width + k]}>
                  {short(values[t * width + k])}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
