/** A canvas that fits its CSS size sharply. More than two pixels a CSS pixel cost time and show nothing more. */
export function fit(canvas: HTMLCanvasElement, width: number, height: number): { ratio: number; context: CanvasRenderingContext2D } {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const wide = Math.max(1, Math.round(width * ratio));
  const high = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  return { ratio, context: canvas.getContext("2d")! };
}

/** The value of a colour token, for a canvas. */
export function token(element: Element, name: string): string {
  return getComputedStyle(element).getPropertyValue(name).trim();
}
