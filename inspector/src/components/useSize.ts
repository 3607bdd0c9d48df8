import { type ReadonlySignal, signal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useMemo } from "preact/hooks";

export interface Size {
  width: number;
  height: number;
}

/** Size of an element's content box in whole CSS pixels; 0 until it is laid out. */
export function useSize(element: RefObject<HTMLElement | null>): ReadonlySignal<Size> {
  const size = useMemo(() => signal<Size>({ width: 0, height: 0 }), []);
  useEffect(() => {
    if (!element.current) return;
    const observer = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      const known = size.value;
      const next = { width: Math.floor(width), height: Math.floor(height) };
      if (next.width !== known.width || next.height !== known.height) size.value = next;
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return size;
}
