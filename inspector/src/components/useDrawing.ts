import { effect, type ReadonlySignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { pixelRatio } from "./pixelRatio";

/** Draw at most once a frame, when a signal changes or the component is rendered again. */
export function useDrawing(signals: readonly ReadonlySignal<unknown>[], draw: () => void): void {
  const newest = useRef(draw);
  newest.current = draw;
  const request = useRef(() => {});
  // A layout effect, because another effect may be cleaned up after the next frame, when the canvas is gone.
  useLayoutEffect(() => {
    let frame = 0;
    request.current = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        newest.current();
      });
    };
    const stop = effect(() => {
      for (const signal of [pixelRatio, ...signals]) signal.value;
      request.current();
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, []);
  useEffect(() => request.current());
}
