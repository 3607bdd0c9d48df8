// The layers on the left of the drawing, with their lines up to c.

import { RADIUS } from "./geometry";
import { type Inner, Layer, Mark, tap } from "./inner";
import { Piece } from "./Piece";
import { Pillow, Tip, Wire } from "./shapes";

export function Gates(inner: Inner) {
  const { at, cell, pointing, focus, vector } = inner;
  const written = cell.has("written");
  const learned = cell.parts.input_gate.layer !== undefined;
  return (
    <>
      {cell.has("forget_gate") && (
        <Piece part="forget_gate" pointing={pointing}>
          <Wire
            way={[
              [at.f, at.boxTop],
              [at.f, at.c + RADIUS + 6],
            ]}
            weight={tap(focus.forget_gate)}
          />
          <Tip x={at.f} y={at.c + RADIUS} to="up" />
          <Layer cell={cell} part="forget_gate" x={at.f} top={at.boxTop} />
          {vector("forget_gate", at.f, at.vectors)}
        </Piece>
      )}
      {written && (
        <Piece part="input_gate" pointing={pointing}>
          <Wire
            way={
              learned
                ? [
                    [at.i, at.boxTop],
                    [at.i, at.write],
                    [at.g - RADIUS - 6, at.write],
                  ]
                : [
                    [at.f, at.write],
                    [at.g - RADIUS - 6, at.write],
                  ]
            }
            weight={tap(focus.input_gate)}
          />
          <Tip x={at.g - RADIUS} y={at.write} to="right" />
          {learned ? (
            <Layer cell={cell} part="input_gate" x={at.i} top={at.boxTop} />
          ) : (
            <Mark cell={cell} part="input_gate" x={at.f + 34} y={at.write} />
          )}
          {vector("input_gate", at.i, at.vectors)}
        </Piece>
      )}
      {cell.has("normaliser") && (
        <Piece part="normaliser" pointing={pointing}>
          <Pillow from={at.f - 41} to={at.i + 41} y={at.norm} text="÷ n : keep + share = 1" />
        </Piece>
      )}
      <Piece part="candidate" pointing={pointing}>
        <Wire
          way={[
            [at.g, at.boxTop],
            [at.g, (written ? at.write : at.c) + RADIUS + 6],
          ]}
          weight={tap(focus.candidate)}
        />
        <Tip x={at.g} y={(written ? at.write : at.c) + RADIUS} to="up" />
        <Layer cell={cell} part="candidate" x={at.g} top={at.boxTop} />
        {vector("candidate", at.g, at.vectors)}
      </Piece>
    </>
  );
}
