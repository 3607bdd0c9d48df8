import type { Meta } from "../../data/types";
import { plural, short } from "../../format";
import type { State } from "../../state";
import { type Comparison, type Largest, largest, meanErrors, type Run } from "./compare";

interface Props {
  state: State;
  before: Run;
  after: Run | null;
  comparison: Comparison;
}

/** The effect of the change in a few numbers. */
export function Figures({ state, before, after, comparison }: Props) {
  const means = meanErrors(before, after);
  if (!means && !comparison.change) return null;
  return (
    <dl class="gw-whatif-figures">
      {means && (
        <div>
          <dt class="gw-label">Mean error {unitOf(before.meta)}</dt>
          <dd>
            <span data-part="mean_error_before" data-value={means.before}>
              {short(means.before)}
            </span>
            {means.after !== null && (
              <>
                {" → "}
                <strong data-part="mean_error_after" data-value={means.after}>
                  {short(means.after)}
                </strong>
              </>
            )}
          </dd>
          {means.after !== null && <dd class="gw-label">{compared(means.before, means.after)}</dd>}
        </div>
      )}
      {comparison.change && <Change state={state} change={comparison.change} />}
    </dl>
  );
}

function unitOf({ kind, outputs }: Meta): string {
  if (kind === "text") return "in nats per character";
  return outputs.length ? "of the class at each step, in nats" : "one step ahead, standard deviations";
}

function Change({ state, change: { values, name } }: { state: State; change: NonNullable<Comparison["change"]> }) {
  const found = largest(values);
  if (!found) {
    return (
      <div>
        <dt class="gw-label">Largest {name}</dt>
        <dd>none</dd>
        <dd class="gw-label">the two runs predict the same</dd>
      </div>
    );
  }
  const { t, value } = found;
  return (
    <>
      <div>
        <dt class="gw-label">Largest {name}</dt>
        <dd>
          <strong data-part="largest_change" data-value={value}>
            {short(value)}
          </strong>
        </dd>
        <dd>
          <button type="button" class="gw-whatif-go" data-part="at" data-value={t} onClick={() => state.goTo(t)}>
            at step {t.toLocaleString("en")}
          </button>
        </dd>
      </div>
      <DiedAway state={state} found={found} steps={values.length} />
    </>
  );
}

function DiedAway({ state, found, steps }: { state: State; found: Largest; steps: number }) {
  const [first, last] = found.felt;
  const reverse = state.direction.value === "reverse";
  const atEnd = reverse ? first === 0 : last === steps - 1;
  const after = 1 + (reverse ? found.t - first : last - found.t);
  const end = reverse ? "first" : "last";
  return (
    <div>
      <dt class="gw-label">Below 1% of that</dt>
      <dd>
        <strong data-part="died_away" data-value={atEnd ? Infinity : after}>
          {atEnd ? `not by the ${end} step` : `${plural(after, "step")} ${reverse ? "before" : "later"}`}
        </strong>
      </dd>
      <dd>
        <button
          type="button"
          class="gw-whatif-go"
          data-part="felt"
          data-value={`${first} ${last}`}
          title="Show these steps"
          onClick={() => see(state, first, last)}
        >
          {first === last
            ? `effect at step ${first.toLocaleString("en")}`
            : `effect from step ${first.toLocaleString("en")} to ${last.toLocaleString("en")}`}
        </button>
      </dd>
    </div>
  );
}

/** Zoom to some steps, with a margin of a tenth on both sides. */
function see(state: State, first: number, last: number): void {
  const room = Math.max(2, (last - first) / 10);
  state.zoom(first - room, last + 1 + room);
}

function compared(before: number, after: number): string {
  if (before === after) return "no change";
  const part = Math.abs(after / before - 1) * 100;
  if (part < 0.095) return "hardly changed";
  const text = part < 9.95 ? part.toFixed(1) : Math.round(part).toLocaleString("en");
  return `${text}% ${after > before ? "worse" : "better"}`;
}
