// The step as sums that can be checked by hand: one line for each pointwise operation.

import type { Cell } from "../../data/anatomy";
import type { NumberedPart, Operation, Part } from "../../data/cell";
import { figure } from "./figures";
import { LetterInText } from "./Letter";
import { type Pointing, pointsAt, spotOf } from "./Piece";
import { isMeant, type Spot } from "./parts";
import type { UnitStep } from "./scene";

interface Term {
  part: NumberedPart;
  /** The part that has the number, where it is another: a patched hidden state is not what the step computes. */
  from?: NumberedPart;
  color: string;
  letter: string;
  sub?: string;
}

interface Line {
  name: string;
  /** The part of the drawing that computes the line, and other parts that point to the line. */
  part: NumberedPart;
  owns: readonly Part[];
  operation: Operation;
  left: Term;
  right?: Term;
  result: Term;
}

function lineOf(cell: Cell, part: NumberedPart, before: string): Line {
  const { operation, reads } = cell.parts[part];
  const [left, right] = (reads as readonly NumberedPart[]).map((operand) => termOf(cell, operand, before));
  // The last line gives the hidden state itself, unless a projection or zoneout follows.
  const ends = part === cell.end && !cell.projected && !cell.parts.hidden.operation && part !== "cell";
  const result = ends ? "hidden" : part;
  const owns: Part[] = reads.filter((operand) => !cell.parts[operand].operation);
  if (part === cell.end) owns.push("hidden");
  return {
    name: operation!.verb,
    part,
    owns,
    operation: operation!,
    left,
    ...(right && { right }),
    result: { ...termOf(cell, result, before), from: part },
  };
}

function termOf(cell: Cell, part: NumberedPart, before: string): Term {
  const { letter, step, color } = cell.parts[part];
  return { part, color, letter, ...(step && { sub: step === "before" ? before : "t" }) };
}

export function Arithmetic({
  units,
  focus,
  before,
  pointing,
}: {
  units: readonly UnitStep[];
  focus: UnitStep;
  before: string;
  pointing: Pointing;
}) {
  const spot = spotOf(pointing);
  const { cell } = pointing;
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
          {cell.operations
            .map((part) => lineOf(cell, part, before))
            .map((line) => (
              <tr
                data-line={line.part}
                data-lit={spot !== null && isOf(cell, line, spot)}
                data-dim={spot !== null && !isOf(cell, line, spot)}
                onPointerEnter={pointsAt(line.part, pointing).onPointerEnter}
                onPointerLeave={pointsAt(line.part, pointing).onPointerLeave}
              >
                <th scope="row">
                  <span class="gw-line-name">{line.name}</span>
                  <Equation {...line} />
                </th>
                {line.right ? (
                  <>
                    <td class="gw-sign-cell">{factors(line.operation)[0]}</td>
                    <Numbers term={line.left} units={units} focus={focus} />
                    <td class="gw-sign-cell">{factors(line.operation)[1]}</td>
                    <Numbers term={line.right} units={units} focus={focus} />
                  </>
                ) : (
                  <>
                    <td class="gw-sign-cell">{line.operation.sign}</td>
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

/** What stands before the left and the right numbers: of a mean, its weights. */
function factors({ kind, sign, around }: Operation): [string, string] {
  return kind === "mean" ? [`${around[0].trim()} ×`, `${around[1].trim()} ×`] : ["", sign];
}

function isOf(cell: Cell, { part, owns }: Line, spot: Spot): boolean {
  return [part, ...owns].some((one) => isMeant(cell, one, spot));
}

function Equation({ left, right, result, operation: { around } }: Line) {
  const term = ({ color, letter, sub }: Term) => (
    <LetterInText letter={letter} tint={color} {...(sub === undefined ? {} : { sub })} />
  );
  return (
    <span class="gw-equation">
      {around[0]}
      {term(left)}
      {right && around[1]}
      {right && term(right)}
      {around[2]}
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
    <td class="gw-numbers" style={{ "--tint": term.color }}>
      {units.map((unit) => {
        const value = unit[term.from ?? term.part];
        return (
          <span data-focus={unit === focus} data-part={term.part} data-unit={unit.unit} data-value={value}>
            {figure(value)}
          </span>
        );
      })}
    </td>
  );
}
