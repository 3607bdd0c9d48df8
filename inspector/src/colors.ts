// Colour scales that are readable with colour blindness.

import { interpolateCividis, interpolatePuOr } from "d3-scale-chromatic";

/**
 * 255 colours as 0xAABBGGRR, as ImageData has them on a little-endian machine. Where there is a sign, number 127 is 0,
 * orange lies below and violet above.
 */
export function palette(isSigned: boolean, dark: boolean): Uint32Array {
  return Uint32Array.from({ length: 255 }, (_, k) => {
    const part = k / 254;
    const [r, g, b] = !isSigned
      ? rgb(interpolateCividis(part))
      : dark
        ? diverging(part * 2 - 1)
        : rgb(interpolatePuOr(1 - part));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

type Color = [number, number, number];

// PuOr for a dark page: 0 has the colour of the background, and larger values are brighter.
const GROUND: Color = [24, 26, 32];
const BELOW: Color[] = [GROUND, [112, 56, 14], [214, 122, 22], [255, 216, 156]];
const ABOVE: Color[] = [GROUND, [64, 50, 130], [138, 114, 224], [216, 206, 255]];

/** `value` from -1 to 1. */
function diverging(value: number): Color {
  const stops = value < 0 ? BELOW : ABOVE;
  const place = Math.abs(value) * (stops.length - 1);
  const k = Math.min(stops.length - 2, Math.floor(place));
  return stops[k].map((from, c) => Math.round(from + (stops[k + 1][c] - from) * (place - k))) as Color;
}

function rgb(text: string): Color {
  const hex = /^#(..)(..)(..)$/.exec(text);
  const parts = hex ? hex.slice(1).map((part) => parseInt(part, 16)) : text.match(/\d+/g)!.map(Number);
  return [parts[0], parts[1], parts[2]];
}
