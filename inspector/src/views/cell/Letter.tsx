/** A letter of the equations in a drawing, with its index below: c t−1. */
export function Letter({
  x,
  y,
  letter,
  sub,
  anchor = "middle",
}: {
  x: number;
  y: number;
  letter: string;
  sub: string;
  anchor?: "start" | "middle" | "end";
}) {
  return (
    <text class="gw-letter" x={x} y={y} text-anchor={anchor}>
      {letter}
      {sub && (
        <tspan class="gw-sub" dy={3}>
          {sub}
        </tspan>
      )}
    </text>
  );
}

/** The same in a line of text. */
export function LetterInText({ letter, sub, tint }: { letter: string; sub?: string; tint: string }) {
  return (
    <i class="gw-symbol" style={{ "--tint": tint }}>
      {letter}
      {sub && <sub>{sub}</sub>}
    </i>
  );
}
