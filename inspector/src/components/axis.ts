// The time axis that all panels of the Timeline share, so that a step is at the same pixel in each.

import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { State } from "../state";

/** Margins in CSS pixels: names and numbers on the left, figures of units on the right. */
export const LEFT = 64;
export const RIGHT = 76;

export interface Hover {
  step: number;
  /** Of the pointer, in CSS pixels from the stage's top left. */
  x: number;
  y: number;
}

/** A unit under the pointer, and its value at the hovered step. */
export interface HoverUnit {
  /** Name of the quantity. */
  part: string;
  unit: number;
  value: number | undefined;
}

export class Axis {
  /** Width of the steps in sight, in CSS pixels. */
  readonly width = signal(0);
  readonly hover = signal<Hover | null>(null);
  readonly hoverUnit = signal<HoverUnit | null>(null);
  readonly perStep: ReadonlySignal<number>;
  /** Called for a vertical drag, in pixels; set by the panel in which the drag begins. */
  pull: ((pixels: number) => void) | null = null;

  constructor(readonly state: State) {
    this.perStep = computed(() => {
      const [from, to] = state.range.value;
      return this.width.value / (to - from);
    });
  }

  /** Where a step begins, in CSS pixels from the first in sight. */
  x(step: number): number {
    return (step - this.state.range.value[0]) * this.perStep.value;
  }

  /** The place on the axis at a pixel; its floor is the step. */
  at(x: number): number {
    return this.state.range.value[0] + x / this.perStep.value;
  }

  move(pixels: number): void {
    const [from, to] = this.state.range.value;
    const steps = Math.max(-from, Math.min(this.state.steps.value - to, pixels / this.perStep.value));
    if (steps !== 0) this.state.range.value = [from + steps, to + steps];
  }

  /** Zoom around the step at a pixel, which stays in place. */
  zoom(factor: number, x: number): void {
    const [from, to] = this.state.range.value;
    const T = this.state.steps.value;
    const width = Math.max(Math.min(8, T), Math.min(T, (to - from) * factor));
    const first = this.at(x) - (x / this.width.value) * width;
    const start = Math.max(0, Math.min(T - width, first));
    this.state.range.value = [start, start + width];
  }
}
