import { type Signal, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";
import type { State } from "../../state";

export interface Player {
  playing: Signal<boolean>;
  /** Steps per second. */
  speed: Signal<number>;
  toggle: () => void;
}

/** Plays the steps in the order of reading, and stops at the end. The space bar starts and stops it. */
export function usePlayer(state: State, root: RefObject<HTMLElement | null>): Player {
  const playing = useSignal(false);
  const speed = useSignal(4);
  const stride = state.direction.value === "forward" ? 1 : -1;
  const last = stride === 1 ? state.steps.value - 1 : 0;
  const first = stride === 1 ? 0 : state.steps.value - 1;

  const toggle = () => {
    if (!playing.value && state.t.value === last) state.goTo(first);
    playing.value = !playing.value;
  };

  useEffect(() => {
    if (!playing.value) return;
    const next = () => {
      if (state.t.value === last) playing.value = false;
      else state.goTo(state.t.value + stride);
    };
    const timer = setInterval(next, 1000 / speed.value);
    return () => clearInterval(timer);
  }, [playing.value, speed.value, stride, last]);

  useEffect(() => {
    const host = root.current?.closest<HTMLElement>(".gatewright");
    const target = host?.dataset.host === "notebook" ? host : document;
    const press = (event: Event) => {
      const key = event as KeyboardEvent;
      if (key.key !== " " || key.ctrlKey || key.metaKey || key.altKey || key.defaultPrevented || usesSpace(key))
        return;
      key.preventDefault();
      toggle();
    };
    target.addEventListener("keydown", press);
    return () => target.removeEventListener("keydown", press);
  }, [last, first]);

  return { playing, speed, toggle };
}

/** The space bar presses a focused button, and types a space in a field. */
function usesSpace(event: KeyboardEvent): boolean {
  const target = event.composedPath()[0];
  return target instanceof HTMLElement && /^(INPUT|SELECT|TEXTAREA|BUTTON)$/.test(target.tagName);
}
