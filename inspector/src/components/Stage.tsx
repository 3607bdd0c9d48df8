// The container of panels that share the time axis: it moves, zooms and chooses steps, and draws the lines
// that cross all panels.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type Axis, LEFT, RIGHT } from "./axis";
import { useDrawing } from "./useDrawing";
import { useSize } from "./useSize";
import "./Stage.css";

/** CSS pixels that the pointer may move in a click; more is a drag. */
const SLIP = 4;

interface StageProps {
  axis: Axis;
  children: ComponentChildren;
}

export function Stage({ axis, children }: StageProps) {
  const root = useRef<HTMLDivElement>(null);
  const size = useSize(root);
  useEffect(() => size.subscribe(({ width }) => (axis.width.value = Math.max(0, width - LEFT - RIGHT))), []);
  useGestures(root, axis);
  return (
    <div ref={root} class="gw-stage" style={{ "--gw-left": `${LEFT}px`, "--gw-right": `${RIGHT}px` }}>
      {children}
      <Lines axis={axis} />
    </div>
  );
}

function useGestures(root: { current: HTMLDivElement | null }, axis: Axis): void {
  useEffect(() => {
    const element = root.current!;
    const ends = [hovering(element, axis), dragging(element, axis), wheeling(element, axis)];
    return () => {
      for (const end of ends) end();
    };
  }, []);
}

type Ends = () => void;

function listening<K extends keyof HTMLElementEventMap>(
  element: HTMLElement,
  kind: K,
  heard: (event: HTMLElementEventMap[K]) => void,
): Ends {
  element.addEventListener(kind, heard, { passive: false });
  return () => element.removeEventListener(kind, heard);
}

/** Pixels from the first step in sight; null outside the steps, and over `data-still` elements such as tool bars. */
function along(element: HTMLElement, event: MouseEvent, axis: Axis): number | null {
  if ((event.target as Element).closest("[data-still]")) return null;
  const x = event.clientX - element.getBoundingClientRect().left - LEFT;
  return x >= 0 && x < axis.width.value ? x : null;
}

function stepAt(axis: Axis, x: number): number {
  return Math.max(0, Math.min(axis.state.steps.value - 1, Math.floor(axis.at(x))));
}

function hovering(element: HTMLElement, axis: Axis): Ends {
  const move = listening(element, "pointermove", (event) => {
    const x = along(element, event, axis);
    const y = event.clientY - element.getBoundingClientRect().top;
    axis.hover.value = x === null ? null : { step: stepAt(axis, x), x: x + LEFT, y };
  });
  const leave = listening(element, "pointerleave", () => (axis.hover.value = null));
  return () => {
    move();
    leave();
  };
}

function dragging(element: HTMLElement, axis: Axis): Ends {
  let held: { from: PointerEvent; last: PointerEvent; moved: boolean } | null = null;
  const release = () => {
    held = null;
    axis.pull = null;
    delete element.dataset.dragging;
  };
  const ends = [
    listening(element, "pointerdown", (event) => {
      if (event.button !== 0 || along(element, event, axis) === null) return;
      held = { from: event, last: event, moved: false };
    }),
    listening(element, "pointermove", (event) => {
      if (!held) return;
      const { from } = held;
      if (!held.moved && Math.hypot(event.clientX - from.clientX, event.clientY - from.clientY) >= SLIP) {
        held.moved = true;
        element.setPointerCapture(event.pointerId);
        element.dataset.dragging = "";
        axis.hoverUnit.value = null;
      }
      if (held.moved) {
        axis.move(held.last.clientX - event.clientX);
        axis.pull?.(held.last.clientY - event.clientY);
        held.last = event;
      }
    }),
    listening(element, "pointerup", (event) => {
      const x = along(element, event, axis);
      if (held && !held.moved && x !== null) axis.state.goTo(stepAt(axis, x));
      release();
    }),
    listening(element, "pointercancel", release),
    listening(element, "dblclick", (event) => {
      if (along(element, event, axis) !== null) axis.state.zoom(0, axis.state.steps.value);
    }),
  ];
  return () => {
    for (const end of ends) end();
  };
}

function wheeling(element: HTMLElement, axis: Axis): Ends {
  return listening(element, "wheel", (event) => {
    const x = along(element, event, axis);
    if (x === null || event.ctrlKey || event.shiftKey || event.defaultPrevented || !hasWheel(element)) return;
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) axis.move(event.deltaX);
    else axis.zoom(wheelFactor(event), x);
  });
}

/** In a notebook the wheel scrolls the notebook until the user has clicked into the page. */
export function hasWheel(element: HTMLElement): boolean {
  const host = element.closest<HTMLElement>(".gatewright");
  return host?.dataset.host !== "notebook" || host.contains(host.ownerDocument.activeElement);
}

/** About a fifth for a notch of a mouse wheel; continuous for a touch pad. */
export function wheelFactor({ deltaX, deltaY, deltaMode }: WheelEvent): number {
  const size = deltaMode === WheelEvent.DOM_DELTA_LINE ? 0.05 : 0.0018;
  // With shift held, some systems report a horizontal wheel.
  return Math.exp(Math.max(-0.5, Math.min(0.5, (deltaY || deltaX) * size)));
}

/** Marks of the chosen step and of the hovered one, across all panels. */
function Lines({ axis }: { axis: Axis }) {
  const chosen = useRef<HTMLDivElement>(null);
  const hovered = useRef<HTMLDivElement>(null);
  const { t, range } = axis.state;
  useDrawing([t, range, axis.width], () => place(chosen.current!, axis, t.value));
  useDrawing([axis.hover, range, axis.width], () => place(hovered.current!, axis, axis.hover.value?.step ?? null));
  return (
    <div class="gw-stage-lines" aria-hidden="true">
      <div ref={hovered} class="gw-stage-hover" />
      <div ref={chosen} class="gw-stage-chosen" />
    </div>
  );
}

function place(line: HTMLElement, axis: Axis, step: number | null): void {
  const wide = axis.perStep.value;
  const x = step === null ? -1 : axis.x(step);
  // A line where steps are narrow, the column of the step where they are wide.
  const width = wide >= 4 ? wide : 1;
  const left = wide >= 4 ? x : x + wide / 2 - 0.5;
  line.hidden = step === null || left + width < 0 || left > axis.width.value;
  line.style.transform = `translateX(${left}px)`;
  line.style.width = `${width}px`;
  line.toggleAttribute("data-wide", wide >= 4);
}
