// The place of a drawing: larger where there is room for it, scrolled sideways where there is too little.

import { useWidth } from "../../components/useWidth";
import { LEAST_WIDTH } from "./geometry";

/** Pixels in which a drawing is at its ease: what a place has beyond these goes into its size. */
const EASE = 1080;
/** Any larger, and what stands below would go out of sight. */
const LARGEST = 1.3;

interface Props {
  /** Draws in so many pixels, each of them `scale` CSS pixels large. */
  draw: (width: number, scale: number) => preact.JSX.Element;
}

export function Wide({ draw }: Props) {
  const [root, width] = useWidth<HTMLDivElement>();
  const scale = Math.max(1, Math.min(LARGEST, width / EASE));
  return (
    <div class="gw-cell-place">
      {width > 0 && width < LEAST_WIDTH && (
        <p class="gw-label gw-cell-hint">Scroll sideways for the whole cell →</p>
      )}
      <div ref={root} class="gw-cell-scroll" data-scrolls={width < LEAST_WIDTH}>
        {width > 0 && draw(Math.max(LEAST_WIDTH, Math.floor(width / scale)), scale)}
      </div>
    </div>
  );
}
