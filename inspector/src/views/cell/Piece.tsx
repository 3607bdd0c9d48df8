// A part of a drawing that mouse, touch or keyboard can point at.

import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import type { Cell } from "../../data/anatomy";
import type { Part } from "../../data/cell";
import { isMeant, type Spot, stepsBack } from "./parts";

/** The part under the pointer, and the part fixed by a click. */
export interface Pointing {
  /** The cell whose parts they are. */
  cell: Cell;
  hover: Signal<Spot | null>;
  fixed: Signal<Spot | null>;
  /** Id of the element that describes the part. */
  captionId: string;
}

export function spotOf({ hover, fixed }: Pointing): Spot | null {
  return hover.value ?? fixed.value;
}

/** Event handlers of an element that stands for a part or a question. */
export function pointsAt(spot: Spot, { hover, fixed }: Pointing) {
  const leave = () => {
    if (hover.value === spot) hover.value = null;
  };
  return {
    onPointerEnter: () => {
      hover.value = spot;
    },
    onPointerLeave: leave,
    onFocus: () => {
      hover.value = spot;
    },
    onBlur: leave,
    onClick: () => {
      fixed.value = fixed.value === spot ? null : spot;
    },
  };
}

export function Piece({
  part,
  pointing,
  children,
}: {
  part: Part;
  pointing: Pointing;
  children: ComponentChildren;
}) {
  const spot = spotOf(pointing);
  const { color, label } = pointing.cell.parts[part];
  const handlers = pointsAt(part, pointing);
  const pressed = (event: KeyboardEvent) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    handlers.onClick();
  };
  return (
    <g
      class="gw-piece"
      data-piece={part}
      data-dim={stepsBack(pointing.cell, part, spot)}
      data-lit={isMeant(pointing.cell, part, spot)}
      style={{ color: color }}
      tabindex={0}
      role="button"
      aria-label={label}
      aria-pressed={pointing.fixed.value === part}
      aria-describedby={pointing.captionId}
      onKeyDown={pressed}
      {...handlers}
    >
      {children}
    </g>
  );
}
