const STEPS: Record<string, number> = {
  ArrowLeft: -1,
  ArrowDown: -1,
  ArrowRight: 1,
  ArrowUp: 1,
  PageDown: -10,
  PageUp: 10,
  Home: -Infinity,
  End: Infinity,
};

/** The new position of a slider over `count` positions after a key; null for other keys. */
export function slidTo(event: KeyboardEvent, place: number, count: number): number | null {
  const step = STEPS[event.key];
  if (step === undefined || !count) return null;
  event.preventDefault();
  return Math.max(0, Math.min(count - 1, place + step));
}
