// The container of a drawing: scales it up where there is room, and scrolls sideways where there is too little.

import { useWidth } from "../../components/useWidth";

/** Natural width of a drawing in pixels; a wider container scales it up. */
const EASE = 1080;
/** Maximum scale: a larger drawing would push the content below out of sight. */
const LARGEST = 1.3;

interface Props {
  /** Minimum width of the drawing in pixels. */
  least: number;
  /** Draws with a width in pixels, each `scale` CSS pixels large. */
  draw: (width: number, scale: number) => preact.JSX.Element;
}

export function Wide({ least, draw }: Props) {
  const [root, width] = useWidth<HTMLDivElement>();
  const scale = Math.max(1, Math.min(LARGEST, width / EASE));
  return (
    <div class="gw-cell-place">
      {width > 0 && width < least && <p class="gw-label gw-cell-hint">Scroll sideways for the whole cell →</p>}
      <div ref={root} class="gw-cell-scroll" data-scrolls={width < least}>
        {width > 0 && draw(Math.max(least, Math.floor(width / scale)), scale)}
      </div>
    </div>
  );
}
