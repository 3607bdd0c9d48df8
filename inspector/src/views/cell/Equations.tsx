// The equations of the cell that is drawn.

import type { Cell } from "../../data/anatomy";
import { equationsOf } from "../../data/equations";

export function Equations({ cell }: { cell: Cell }) {
  return (
    <section class="gw-equations" aria-label="Equations of this cell">
      <h3>Equations</h3>
      <ul>
        {equationsOf(cell).map((line) => (
          <li key={line}>{marked(line)}</li>
        ))}
      </ul>
    </section>
  );
}

/** Text with indices: "W_f x" has f below the line. */
function marked(text: string): (string | preact.JSX.Element)[] {
  return text.split(/(_[A-Za-z]+)/).map((part) => (part.startsWith("_") ? <sub>{part.slice(1)}</sub> : part));
}
