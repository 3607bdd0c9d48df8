import { signal } from "@preact/signals";

/** Pixels a CSS pixel of the screen that the page is on: it may be moved to another. */
export const pixelRatio = signal(devicePixelRatio || 1);

function watch(): void {
  pixelRatio.value = devicePixelRatio || 1;
  matchMedia(`(resolution: ${pixelRatio.value}dppx)`).addEventListener("change", watch, { once: true });
}

watch();
