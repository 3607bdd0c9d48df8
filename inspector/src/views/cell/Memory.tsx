// Forgetting and writing: what happens to c, from left to right.

import { RADIUS, VECTOR_WIDTH } from "./geometry";
import { type Inner, Mark, tap } from "./inner";
import { Piece } from "./Piece";
import { Belt, BeltTip, Tip, Wire } from "./shapes";

export function Memory(inner: Inner) {
  const { at, cell, pointing, focus, vector, thick } = inner;
  return (
    <>
      {cell.has("kept") && (
        <Piece part="kept" pointing={pointing}>
          <Belt from={at.f + RADIUS} to={at.g - RADIUS} y={at.c} thick={thick(focus.kept)} />
          <Mark cell={cell} part="kept" x={at.f} y={at.c} />
          {vector("kept", (at.f + at.g) / 2, at.c)}
        </Piece>
      )}
      {cell.has("written") && (
        <Piece part="written" pointing={pointing}>
          <Wire
            way={[
              [at.g, at.write - RADIUS],
              [at.g, at.c + RADIUS + 6],
            ]}
            weight={tap(focus.written)}
          />
          <Tip x={at.g} y={at.c + RADIUS} to="up" />
          <Mark cell={cell} part="written" x={at.g} y={at.write} />
          {vector("written", at.g + VECTOR_WIDTH / 2 + 14, at.c + 39 + 8 + (at.write - at.c - 78) / 2)}
        </Piece>
      )}
      <NewState {...inner} />
    </>
  );
}

/** The sum, what follows it, and the new cell state. */
function NewState({ at, cell, pointing, focus, vector, thick }: Inner) {
  const right = at.width - VECTOR_WIDTH - 1;
  const chain = (["summed", "clipped", "cell"] as const).filter((part) => cell.has(part));
  const place = (part: (typeof chain)[number]) =>
    part === chain[0] ? at.g : part === "cell" && cell.features.zoneout_cell ? at.zone : at.clip;
  return (
    <>
      {chain.map((part, k) => {
        const [x, next] = [place(part), k + 1 < chain.length ? place(chain[k + 1]) : right - 8];
        return (
          <Piece part={part} pointing={pointing}>
            <Belt from={x + RADIUS} to={next} y={at.c} thick={thick(focus[part])} />
            {part === "cell" && (
              <>
                <BeltTip x={right - 1} y={at.c} thick={thick(focus.cell)} />
                <OutputPeephole at={at} cell={cell} />
              </>
            )}
            <Mark cell={cell} part={part} x={x} y={at.c} />
            {part === "cell" && vector("cell", at.width - VECTOR_WIDTH / 2 - 1, at.c)}
          </Piece>
        );
      })}
    </>
  );
}

/** The line from the new c into the output gate, if that reads it. */
function OutputPeephole({ at, cell }: Pick<Inner, "at" | "cell">) {
  if (!cell.has("output_gate") || !cell.parts.output_gate.reads.includes("cell")) return null;
  const x = Math.max(at.o + 47, at.afterOperations);
  return (
    <>
      <Wire
        way={[
          [x, at.c],
          [x, at.into],
          [at.o + 30, at.into],
          [at.o + 30, at.boxTop - 6],
        ]}
        thin
      />
      <Tip x={at.o + 30} y={at.boxTop} to="down" />
    </>
  );
}
