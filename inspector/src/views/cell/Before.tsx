// What the step reads: h and c before it, and x.

import type { Part } from "../../data/cell";
import { type Geometry, type Point, RADIUS, UNITS, VECTOR_WIDTH } from "./geometry";
import type { Inner } from "./inner";
import { Piece } from "./Piece";
import { Belt, End, Over, Tip, Wire } from "./shapes";

export function Before({ inner, x }: { inner: Inner; x: string }) {
  const { at, cell, pointing, focus, vector, thick } = inner;
  const boxes = ([at.f, at.i, at.g, at.o] as const).filter(
    (_, k) => cell.parts[IN_ORDER[k]].layer && cell.has(IN_ORDER[k]),
  );
  const first = boxes[0];
  const last = boxes[boxes.length - 1];
  const { zoneout_hidden, heads } = cell.features;
  const end = cell.has("kept") ? at.f - RADIUS : at.g - RADIUS;
  return (
    <>
      <Piece part="hidden_before" pointing={pointing}>
        <Wire
          way={[
            [UNITS + VECTOR_WIDTH, at.h],
            [last, at.h],
            [last, at.boxBottom + 8],
          ]}
        />
        {boxes.slice(0, -1).map((x) => (
          <Wire
            way={[
              [x, at.h],
              [x, at.boxBottom + 8],
            ]}
          />
        ))}
        {boxes.map((x) => (
          <Tip x={x} y={at.boxBottom + 1} to="up" />
        ))}
        {zoneout_hidden > 0 && <Carried at={at} from={last} />}
        {heads > 1 && (
          <text class="gw-end" x={first + 12} y={at.h + 17}>
            {heads} heads: each reads its own part of h
          </text>
        )}
        {vector("hidden_before", UNITS + VECTOR_WIDTH / 2, at.h)}
      </Piece>
      <Piece part="input" pointing={pointing}>
        <Wire
          way={[
            [at.x.x, at.x.y],
            [at.x.x, at.h],
            [first, at.h],
          ]}
        />
        <End x={at.x.x + 12} y={at.x.y - 6} letter="x" sub="t" text={x} anchor="start" />
      </Piece>
      <Piece part="cell_before" pointing={pointing}>
        <Belt from={UNITS + VECTOR_WIDTH} to={end} y={at.c} thick={thick(focus.cell_before)} />
        <Peepholes {...inner} />
        {vector("cell_before", UNITS + VECTOR_WIDTH / 2, at.c)}
      </Piece>
    </>
  );
}

/** The layers from left to right. */
const IN_ORDER = ["forget_gate", "input_gate", "candidate", "output_gate"] as const;

/** The part of h before the step that zoneout mixes into the new one. */
function Carried({ at, from }: { at: Geometry; from: number }) {
  const x = at.show - 44;
  const way: Point[] = [
    [from, at.h],
    [x, at.h],
    [x, at.mixed],
    [at.show - 33, at.mixed],
  ];
  return (
    <>
      <Wire way={way} />
      <Tip x={at.show - 27} y={at.mixed} to="right" />
    </>
  );
}

/** Lines from c before the step into the boxes of the gates that read it, and into zoneout. */
function Peepholes({ at, cell }: Inner) {
  const { peephole, zoneout_cell } = cell.features;
  const reads = (gate: Part) => peephole && cell.has(gate) && cell.parts[gate].layer !== undefined;
  const from = at.f - 46;
  const gap = (at.f + at.i) / 2;
  return (
    <>
      {reads("forget_gate") && (
        <>
          <Wire
            way={[
              [from, at.c],
              [from, at.into],
              [at.f - 30, at.into],
              [at.f - 30, at.boxTop - 6],
            ]}
            thin
          />
          <Tip x={at.f - 30} y={at.boxTop} to="down" />
        </>
      )}
      {reads("input_gate") && (
        <>
          {cell.has("forget_gate") && <Over d={`M${at.f - 8} ${at.across}h16`} />}
          <Wire
            way={[
              [from, at.c],
              [from, at.across],
              [gap, at.across],
              [gap, at.into],
              [at.i - 30, at.into],
              [at.i - 30, at.boxTop - 6],
            ]}
            thin
          />
          <Tip x={at.i - 30} y={at.boxTop} to="down" />
        </>
      )}
      {zoneout_cell > 0 && (
        <>
          <Wire
            way={[
              [from, at.c],
              [from, at.over],
              [at.zone, at.over],
              [at.zone, at.c - 18],
            ]}
            thin
          />
          <Tip x={at.zone} y={at.c - 11} to="down" />
        </>
      )}
    </>
  );
}
