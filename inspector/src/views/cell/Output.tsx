// The path from the new cell state to the hidden state.

import { type Point, RADIUS, VECTOR_WIDTH } from "./geometry";
import { type Inner, Layer, Mark, tap } from "./inner";
import { Piece } from "./Piece";
import { Over, Tip, Wire } from "./shapes";

export function Output({ up, ...inner }: Inner & { up: string }) {
  const { cell, pointing } = inner;
  return (
    <>
      <Read {...inner} />
      {cell.has("output_gate") && <OutputGate {...inner} />}
      <Hidden {...inner} up={up} />
      {cell.has("projection") && (
        <Piece part="projection" pointing={pointing}>
          <Layer cell={cell} part="projection" x={inner.at.show} top={inner.at.boxTop + 12} />
        </Piece>
      )}
    </>
  );
}

/** Normalisation and activation of c. */
function Read({ at, cell, pointing, vector }: Inner) {
  const marks = (["normal", "bent"] as const).filter((part) => cell.has(part));
  const heights = { normal: at.normal, bent: at.bend };
  return (
    <>
      {marks.map((part, k) => {
        const y = heights[part];
        const next = k + 1 < marks.length ? heights[marks[k + 1]] - 11 : ends(at, cell, y);
        const from = k === 0 ? at.c + 6 : y;
        const beside = k === 0 && marks.length === 1 ? at.bend + 20 : at.vectorsOfRead[k];
        return (
          <Piece part={part} pointing={pointing}>
            <Wire
              way={[
                [at.show, from],
                [at.show, next - 6],
              ]}
            />
            {next > y && <Tip x={at.show} y={next} to="down" />}
            <Mark cell={cell} part={part} x={at.show} y={y} />
            {vector(part, at.show + at.aside, beside)}
          </Piece>
        );
      })}
    </>
  );
}

/** Where the line from c ends: at the output gate, at zoneout or a projection, or at its last function itself. */
function ends(at: Inner["at"], cell: Inner["cell"], last: number): number {
  if (cell.has("shown")) return at.gate - RADIUS;
  if (cell.features.zoneout_hidden) return at.mixed - 11;
  return cell.has("projection") ? at.boxTop + 12 : last;
}

function OutputGate({ at, cell, pointing, focus, vector }: Inner) {
  return (
    <Piece part="output_gate" pointing={pointing}>
      <Wire
        way={[
          [at.o, at.boxTop],
          [at.o, at.gate],
          [at.show - RADIUS - 6, at.gate],
        ]}
        weight={tap(focus.output_gate)}
      />
      <Tip x={at.show - RADIUS} y={at.gate} to="right" />
      <Layer cell={cell} part="output_gate" x={at.o} top={at.boxTop} />
      {vector("output_gate", at.o, at.vectors)}
    </Piece>
  );
}

/** The new hidden state, on its ways to the next step and up. */
function Hidden({ at, cell, up, pointing, focus, vector }: Inner & { up: string }) {
  const right = at.width - VECTOR_WIDTH - 1;
  const mixes = cell.parts.hidden.operation !== undefined;
  // Something follows what is shown: its numbers are not those of h.
  const further = mixes || cell.has("projection");
  const reads = cell.has("normal") || cell.has("bent");
  const shown = cell.has("shown");
  const last = cell.has("bent") ? at.bend + 11 : cell.has("normal") ? at.normal + 11 : at.c + 6;
  const from = shown ? at.gate + RADIUS : mixes ? at.mixed : cell.has("projection") ? at.boxTop + 24 : last;
  const out: Point[] = [
    [at.show, from],
    [at.show, at.h],
    [right - 8, at.h],
  ];
  return (
    <>
      {!reads && shown && (
        <Piece part="cell" pointing={pointing}>
          <Wire
            way={[
              [at.show, at.c + 6],
              [at.show, at.gate - RADIUS - 6],
            ]}
          />
          <Tip x={at.show} y={at.gate - RADIUS} to="down" />
        </Piece>
      )}
      <Piece part="hidden" pointing={pointing}>
        <Wire way={out} weight={further ? 1.5 : tap(focus.shown)} />
        <Wire
          way={[
            [at.up - 10, at.h],
            [at.up, at.h],
            [at.up, at.c + 14],
          ]}
          flow={false}
        />
        <Over d={`M${at.up} ${at.c + 16}V${at.c - 16}`} />
        <Wire
          way={[
            [at.up, at.c + 18],
            [at.up, 8],
          ]}
          flow={false}
        />
        <Tip x={at.up} y={2} to="up" />
        <text class="gw-end" x={at.up - 9} y={25} text-anchor="end">
          {up}
        </text>
        <Tip x={right - 1} y={at.h} to="right" />
        {mixes && <Mark cell={cell} part="hidden" x={at.show} y={at.mixed} />}
        {vector("hidden", at.width - VECTOR_WIDTH / 2 - 1, at.h)}
      </Piece>
      {shown && (
        <Piece part="shown" pointing={pointing}>
          <Mark cell={cell} part="shown" x={at.show} y={at.gate} />
          {further && vector("shown", at.show, (at.gate + RADIUS + at.boxTop + (mixes ? 7 : 12)) / 2)}
        </Piece>
      )}
    </>
  );
}
