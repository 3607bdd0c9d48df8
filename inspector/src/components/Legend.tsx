import { useEffect, useRef } from "preact/hooks";
import { TOP } from "./heat/pyramid";
import "./Legend.css";

interface LegendProps {
  colors: Uint32Array;
  low: string;
  high: string;
  /** The meaning of the ends, where they are not the limits of the quantity. */
  note?: string | undefined;
}

/** The colours of a heat-map from its minimum to its maximum. */
export function Legend({ colors, low, high, note }: LegendProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current!.getContext("2d")!;
    const image = context.createImageData(TOP + 1, 1);
    new Uint32Array(image.data.buffer).set(colors.subarray(0, TOP + 1));
    context.putImageData(image, 0, 0);
  }, [colors]);
  return (
    <span class="gw-legend" title={note}>
      <span>{low}</span>
      <canvas ref={canvas} width={TOP + 1} height={1} aria-hidden="true" />
      <span>{high}</span>
    </span>
  );
}
