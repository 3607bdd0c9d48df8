import type { ComponentChildren } from "preact";
import type { Axis } from "./axis";

/** CSS pixels between the pointer and its note. */
const AWAY = 14;

/** A note next to the pointer, to its left where there is little room on the right. */
export function PointerNote({ axis, kind, children }: { axis: Axis; kind: string; children: ComponentChildren }) {
  const hover = axis.hover.value;
  if (!hover) return null;
  const leftwards = hover.x > axis.width.value * 0.7;
  return (
    <div
      class={kind}
      aria-hidden="true"
      style={{
        left: `${hover.x + (leftwards ? -AWAY : AWAY)}px`,
        top: `${hover.y + AWAY}px`,
        transform: leftwards ? "translateX(-100%)" : undefined,
      }}
    >
      {children}
    </div>
  );
}
