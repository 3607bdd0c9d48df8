import { pixelRatio } from "./pixelRatio";

interface Fitted {
  context: CanvasRenderingContext2D;
  /** Device pixels in a CSS pixel. */
  ratio: number;
}

/** Resize a canvas to its CSS size, at the resolution of the screen and at most two pixels in a CSS pixel. */
export function fit(canvas: HTMLCanvasElement, width: number, height: number): Fitted {
  const ratio = Math.min(2, pixelRatio.value);
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
