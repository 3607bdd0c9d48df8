import type { RefObject } from "preact";
import { useRef } from "preact/hooks";
import { useSize } from "./useSize";

/** Width of an element's content in whole pixels, kept up to date; 0 before it is laid out. */
export function useWidth<E extends HTMLElement>(): [RefObject<E | null>, number] {
  const ref = useRef<E>(null);
  return [ref, useSize(ref).value.width];
}
