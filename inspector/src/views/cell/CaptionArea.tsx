// One place for all explanations, with room for the longest, so that nothing moves while the pointer does.

import { type Pointing, pointsAt, spotOf } from "./Piece";
import { type Spot, topicsOf } from "./parts";
import { caption, type Facts } from "./sentences";
import { differences } from "./variants";

/** Sentences that fit in the room of other captions. */
const MANY = 4;

export function CaptionArea({ pointing, facts, playing }: { pointing: Pointing; facts: Facts; playing: boolean }) {
  const spot = spotOf(pointing);
  const { title, text } = caption(spot, facts);
  return (
    <div class="gw-caption">
      <div class="gw-topics" role="group" aria-label="Questions">
        {topicsOf(pointing.cell).map(({ topic, question }) => (
          <Question topic={topic} question={question} pointing={pointing} />
        ))}
      </div>
      <p
        id={pointing.captionId}
        class="gw-caption-text"
        aria-live={playing ? "off" : "polite"}
        data-spot={spot ?? "rest"}
        // The longest text says how a cell differs.
        data-long={differences(pointing.cell).length > MANY}
      >
        <b>{title}.</b> {together(text)}
      </p>
    </div>
  );
}

function Question({ topic, question, pointing }: { topic: Spot; question: string; pointing: Pointing }) {
  return (
    <button
      type="button"
      class="gw-topic"
      aria-pressed={pointing.fixed.value === topic}
      {...pointsAt(topic, pointing)}
    >
      {question}
    </button>
  );
}

/** Keep products on one line. */
function together(text: string): string {
  return text.replaceAll(" × ", "\u00a0×\u00a0");
}
