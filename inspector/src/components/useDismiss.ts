import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";

/** While something is open: close it on a press anywhere else. */
export function useDismiss(element: RefObject<HTMLElement | null>, open: boolean, close: () => void): void {
  useEffect(() => {
    if (!open || !element.current) return;
    const { ownerDocument } = element.current;
    const press = (event: PointerEvent) => {
      // The button that opened it closes it by itself.
      const button = (event.target as Element).closest("[aria-expanded=true]");
      if (!button && !event.composedPath().includes(element.current!)) close();
    };
    ownerDocument.addEventListener("pointerdown", press);
    return () => ownerDocument.removeEventListener("pointerdown", press);
  }, [open]);
}
