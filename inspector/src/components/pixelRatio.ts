import { signal } from "@preact/signals";

/** Device pixels in a CSS pixel, kept up to date when the window moves to another screen. */
export const pixelRatio = signal(devicePixelRatio || 1);

function watch(): void {
  pixelRatio.value = devicePixelRatio || 1;
  matchMedia(`(resolution: ${pixelRatio.value}dppx)`).addEventListener("change", watch, { once: true });
}

watch();
