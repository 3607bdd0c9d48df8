import { effect, type ReadonlySignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { pixelRatio } from "./pixelRatio";

/** Draw once a frame at most, when a signal changes or the component renders anew. */
export function useDrawing(signals: readonly ReadonlySignal<unknown>[], draw: () => void): void {
  const newest = useRef(draw);
  newest.current = draw;
  const request = useRef(() => {});
  // Of the layout, since the end of another effect may come after the next frame, when there is nothing to draw on.
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
