// The step as sums that can be checked by hand: one line for each pointwise operation.

import { CELL, type NumberedPart, OPERATIONS, type Part } from "../../data/cell";
import { figure } from "./figures";
import { LetterInText } from "./Letter";
import { type Pointing, pointsAt, spotOf } from "./Piece";
import { isMeant, type Spot } from "./parts";
import type { UnitStep } from "./scene";

interface Term {
  part: NumberedPart;
  letter: string;
  sub?: string;
}

interface Line {
  name: string;
  /** The part of the drawing that computes the line, and other parts that point to the line. */
  part: NumberedPart;
  owns: readonly Part[];
  sign: string;
  left: Term;
  right?: Term;
  result: Term;
}

function lineOf(part: NumberedPart, before: string, projected: boolean): Line {
  const { operation, reads } = CELL[part];
  const { sign, verb } = operation!;
  const [left, right] = (reads as readonly NumberedPart[]).map((operand) => termOf(operand, before));
  // Without a projection the last line gives the hidden state itself.
  const result = part === "shown" && !projected ? "hidden" : part;
  const owns: Part[] = reads.filter((operand) => !CELL[operand].operation);
  if (part === "shown") owns.push("hidden");
  return { name: verb, part, owns, sign, left, ...(right && { right }), result: termOf(result, before) };
}

function termOf(part: NumberedPart, before: string): Term {
  const { letter, step } = CELL[part];
  return { part, letter, ...(step && { sub: step === "before" ? before : "t" }) };
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
          {OPERATIONS.map((part) => lineOf(part, before, projected)).map((line) => (
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
              {line.right ? (
                <>
                  <td />
                  <Numbers term={line.left} units={units} focus={focus} />
                  <td class="gw-sign-cell">{line.sign}</td>
                  <Numbers term={line.right} units={units} focus={focus} />
                </>
              ) : (
                <>
                  <td class="gw-sign-cell">{line.sign}</td>
                  <Numbers term={line.left} units={units} focus={focus} />
                  <td />
                  <td />
                </>
              )}
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
    <LetterInText letter={letter} tint={CELL[part].color} {...(sub === undefined ? {} : { sub })} />
  );
  return (
    <span class="gw-equation">
      {right ? (
        <>
          {term(left)} {sign} {term(right)}
        </>
      ) : (
        <>
          {sign}({term(left)})
        </>
      )}
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
    <td class="gw-numbers" style={{ "--tint": CELL[term.part].color }}>
      {units.map((unit) => {
        const value = unit[term.part];
        return (
          <span data-focus={unit === focus} data-part={term.part} data-unit={unit.unit} data-value={value}>
            {figure(value)}
          </span>
        );
      })}
    </td>
  );
}
