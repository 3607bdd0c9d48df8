import { useLoading } from "../../components/useLoaded";
import { fixed, plural } from "../../format";
import type { State } from "../../state";
import { shareText, stepsText } from "../units/rows";

/** Figures of the diagnosis for the unit in focus. */
export function UnitCard({ state }: { state: State }) {
  const recording = state.recording.value!;
  const { value: diagnosis, loading } = useLoading(state, () => recording.diagnosis(), [recording]);
  const [layer, direction, unit] = [state.layer.value, state.direction.value, state.unit.value];
  const found = diagnosis?.layers.find((one) => one.layer === layer && one.direction === direction);
  if (!found || unit >= found.half_life.length) return null;
  const half = found.half_life[unit];
  const resets = found.labels[unit].includes("resets");
  return (
    <section aria-busy={loading}>
      <h3>
        Unit {unit}
        {found.labels[unit].map((label) => (
          <span key={label} class="gw-chip">
            {label}
          </span>
        ))}
      </h3>
      <dl class="gw-timeline-pairs">
        <div>
          <dt>{resets ? "half-life between resets" : "half-life"}</dt>
          <dd class="gw-number" data-part="half_life" data-value={half}>
            {half === null ? "never forgets half" : `${stepsText(half)} steps`}
          </dd>
        </div>
        {resets && (
          <>
            <div>
              <dt>steps that reset it</dt>
              <dd class="gw-number" data-part="resets" data-value={found.resets[unit]}>
                {shareText(found.resets[unit])}
              </dd>
            </div>
            <div>
              <dt>longest without a reset</dt>
              <dd class="gw-number" data-part="longest" data-value={found.longest[unit]}>
                {plural(found.longest[unit], "step")}
              </dd>
            </div>
          </>
        )}
        {found.labels[unit].includes("saturated") && (
          <div>
            <dt>mean |c|</dt>
            <dd class="gw-number" data-part="size" data-value={found.size[unit]}>
              {fixed(found.size[unit], 2)}
            </dd>
          </div>
        )}
        <div>
          <dt>write per step, mean |{recording.measures.of.write.letter.replace(" ⊙ ", " ")}|</dt>
          <dd class="gw-number" data-part="write_rate" data-value={found.write_rate[unit]}>
            {fixed(found.write_rate[unit])}
          </dd>
        </div>
        <div>
          <dt>activity, sd of h</dt>
          <dd class="gw-number" data-part="activity" data-value={found.activity[unit]}>
            {fixed(found.activity[unit])}
          </dd>
        </div>
      </dl>
    </section>
  );
}
