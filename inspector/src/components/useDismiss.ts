import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";

/** Close something that is open on a press anywhere else. */
export function useDismiss(element: RefObject<HTMLElement | null>, open: boolean, close: () => void): void {
  useEffect(() => {
    if (!open || !element.current) return;
    const { ownerDocument } = element.current;
    const press = (event: PointerEvent) => {
      // The button that opens it also closes it.
      const button = (event.target as Element).closest("[aria-expanded=true]");
      if (!button && !event.composedPath().includes(element.current!)) close();
    };
    ownerDocument.addEventListener("pointerdown", press);
    return () => ownerDocument.removeEventListener("pointerdown", press);
  }, [open]);
}
