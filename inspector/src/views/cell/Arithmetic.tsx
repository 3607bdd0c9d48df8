// The step as sums that can be checked by hand: one line for each pointwise operation.

import { figure } from "./figures";
import { isMeant, PART_NUMBER, PART_TINT, type Part, type Spot } from "./parts";
import { Symbol } from "./Letter";
import { pointsAt, spotOf, type Pointing } from "./Piece";
import type { UnitStep } from "./scene";

type Numbered = Exclude<Part, "input" | "projection">;

interface Term {
  part: Numbered;
  letter: string;
  sub?: string;
}

interface Line {
  name: string;
  /** The part of the drawing that does this, and those whose numbers come in here first. */
  part: Part;
  owns: readonly Part[];
  sign: string;
  left: Term;
  right?: Term;
  result: Term;
}

function lines(before: string, projected: boolean): Line[] {
  const old: Term = { part: "cell_before", letter: "c", sub: before };
  const c: Term = { part: "cell", letter: "c", sub: "t" };
  const kept: Term = { part: "kept", letter: "kept" };
  const written: Term = { part: "written", letter: "written" };
  const bent: Term = { part: "bent", letter: "tanh c", sub: "t" };
  const f: Term = { part: "forget_gate", letter: "f", sub: "t" };
  const i: Term = { part: "input_gate", letter: "i", sub: "t" };
  const g: Term = { part: "candidate", letter: "g", sub: "t" };
  const o: Term = { part: "output_gate", letter: "o", sub: "t" };
  const shown: Term =
    projected ? { part: "shown", letter: "m", sub: "t" } : { part: "hidden", letter: "h", sub: "t" };
  return [
    { name: "forget", part: "kept", owns: [old.part, f.part], sign: "⊗", left: old, right: f, result: kept },
    { name: "filter", part: "written", owns: [i.part, g.part], sign: "⊗", left: i, right: g, result: written },
    { name: "add", part: "cell", owns: [], sign: "+", left: kept, right: written, result: c },
    { name: "bend", part: "bent", owns: [], sign: "tanh", left: c, result: bent },
    { name: "show", part: "shown", owns: [o.part, "hidden"], sign: "⊗", left: o, right: bent, result: shown },
  ];
}

export function Arithmetic({
  units,
  focus,
  before,
  projected,
  pointing,
}: {
  units: readonly UnitStep[];
  focus: UnitStep;
  before: string;
  projected: boolean;
  pointing: Pointing;
}) {
  const spot = spotOf(pointing);
  return (
    <div class="gw-arithmetic">
      <table>
        <thead>
          <tr>
            <th scope="col">unit by unit</th>
            <td />
            <UnitHeads units={units} focus={focus} />
            <td />
            <UnitHeads units={units} focus={focus} />
            <td />
            <UnitHeads units={units} focus={focus} />
          </tr>
        </thead>
        <tbody>
          {lines(before, projected).map((line) => (
            <tr
              data-line={line.part}
              data-lit={spot !== null && isOf(line, spot)}
              data-dim={spot !== null && !isOf(line, spot)}
              onPointerEnter={pointsAt(line.part, pointing).onPointerEnter}
              onPointerLeave={pointsAt(line.part, pointing).onPointerLeave}
            >
              <th scope="row">
                <span class="gw-line-name">{line.name}</span>
                <Equation {...line} />
              </th>
              {line.right ?
                <>
                  <td />
                  <Numbers term={line.left} units={units} focus={focus} />
                  <td class="gw-sign-cell">{line.sign}</td>
                  <Numbers term={line.right} units={units} focus={focus} />
                </>
              : <>
                  <td class="gw-sign-cell">{line.sign}</td>
                  <Numbers term={line.left} units={units} focus={focus} />
                  <td />
                  <td />
                </>
              }
              <td class="gw-sign-cell">=</td>
              <Numbers term={line.result} units={units} focus={focus} />
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function isOf({ part, owns }: Line, spot: Spot): boolean {
  return [part, ...owns].some((one) => isMeant(one, spot));
}

function Equation({ left, right, result, sign }: Line) {
  const term = ({ part, letter, sub }: Term) => (
    <Symbol letter={letter} tint={PART_TINT[part]} {...(sub === undefined ? {} : { sub })} />
  );
  return (
    <span class="gw-equation">
      {right ?
        <>
          {term(left)} {sign} {term(right)}
        </>
      : <>
          {sign}({term(left)})
        </>
      }
      {" = "}
      {term(result)}
    </span>
  );
}

function UnitHeads({ units, focus }: { units: readonly UnitStep[]; focus: UnitStep }) {
  return (
    <td class="gw-numbers gw-unit-heads">
      {units.map((unit) => (
        <span data-focus={unit === focus}>{unit.unit}</span>
      ))}
    </td>
  );
}

function Numbers({ term, units, focus }: { term: Term; units: readonly UnitStep[]; focus: UnitStep }) {
  return (
    <td class="gw-numbers" style={{ "--tint": PART_TINT[term.part] }}>
      {units.map((unit) => {
        const value = unit[PART_NUMBER[term.part]];
        return (
          <span data-focus={unit === focus} data-part={term.part} data-unit={unit.unit} data-value={value}>
            {figure(value)}
          </span>
        );
      })}
    </td>
  );
}
