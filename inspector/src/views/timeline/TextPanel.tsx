import { useMemo, useRef } from "preact/hooks";
import { type Axis, LEFT } from "../../components/axis";
import { fit, token } from "../../components/canvas";
import { type Line, Lines } from "../../components/Lines";
import { useDrawing } from "../../components/useDrawing";
import { useLoaded } from "../../components/useLoaded";
import type { Numbers } from "../../data/source";
import { fixed, visible } from "../../format";
import { Key, KeyEntry } from "./Key";
import { blindGuess, DARKEST, strength } from "./surprise";
import { known } from "./tracks";

const STRIP = 26;
const ERROR = 84;
/** Width of a character in CSS pixels. */
const READABLE = 7;

/** The text, one character for each step, and its error: -log p(character). */
export function TextPanel({ axis }: { axis: Axis }) {
  const { state } = axis;
  const recording = state.recording.value!;
  const row = state.row.value;
  const { peer } = recording.meta;
  const text = recording.meta.text!;
  const loaded = useLoaded(state, async () => {
    const wanted = ["symbols", "error", ...(recording.has(row, "peer/error") ? ["peer/error"] : [])];
    const [symbols, error, other] = await Promise.all(wanted.map((name) => recording.block(row, name)));
    return { symbols, error, other: other ?? null };
  }, [recording, row]);
  const lines = useMemo(() => loaded && errorLines(loaded.error, loaded.other), [loaded]);
  const most = blindGuess(text);
  return (
    <>
      <div class="gw-timeline-bar" data-still>
        <h2>Surprise</h2>
        <span class="gw-label">−log p of each character, in nats</span>
        <Key>
          <KeyEntry name={recording.cell.name} color="--gw-surprise" />
          {peer && <KeyEntry name={peer.name} color="--gw-peer" shape="dashed" />}
          <span class="gw-legend" title={`The same chance for each of ${text.symbols.length} symbols`}>
            0<i class="gw-timeline-tint-scale" />
            {fixed(most, 1)} nats, a blind guess
          </span>
        </Key>
      </div>
      <div class="gw-timeline-text-strip" style={{ height: `${STRIP}px` }}>
        {loaded && (
          <Strip axis={axis} symbols={loaded.symbols} names={text.symbols} error={loaded.error} most={most} />
        )}
      </div>
      <div style={{ height: `${ERROR}px` }}>
        {lines && <Lines axis={axis} label="Error of each character in nats" height={ERROR} {...lines} />}
      </div>
    </>
  );
}

function errorLines(error: Numbers, other: Numbers | null): { lines: Line[]; domain: [number, number] } {
  const values = Array.from(error, known);
  const lines: Line[] = [{ values, color: "--gw-surprise", width: 1.2 }];
  const peer = other && Array.from(other, known);
  if (peer) lines.unshift({ values: peer, color: "--gw-peer", width: 1, dash: [4, 3] });
  const high = [...values, ...(peer ?? [])].reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
  return { lines, domain: [0, high * 1.05 || 1] };
}

interface StripProps {
  axis: Axis;
  symbols: Numbers;
  names: string[];
  error: Numbers;
  most: number;
}

/** Characters on tints, or tints alone where characters would be too narrow. */
function Strip({ axis, symbols, names, error, most }: StripProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { range, dark } = axis.state;
  useDrawing([range, axis.width, dark], () => {
    const { context, ratio } = fit(canvas.current!, axis.width.value, STRIP);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, axis.width.value, STRIP);
    context.fillStyle = token(canvas.current!, "--gw-surprise");
    drawTints(context, axis, error, most);
    context.globalAlpha = 1;
    if (axis.perStep.value < READABLE) return;
    context.fillStyle = token(canvas.current!, "--gw-text");
    context.font = `${Math.min(15, axis.perStep.value * 1.5)}px ${token(canvas.current!, "--gw-mono")}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const [from, to] = range.value;
    for (let t = Math.floor(from); t < Math.min(to, symbols.length); t++) {
      const symbol = names[symbols[t]];
      context.globalAlpha = /\s/.test(symbol) ? 0.4 : 1;
      context.fillText(visible(symbol), axis.x(t + 0.5), STRIP / 2);
    }
  });
  const style = { left: `${LEFT}px`, width: `${axis.width.value}px`, height: `${STRIP}px` };
  return <canvas ref={canvas} class="gw-timeline-text-canvas" style={style} aria-hidden="true" />;
}

/** One rectangle for each step; where steps are narrower than a pixel, one for each pixel with their mean. */
function drawTints(context: CanvasRenderingContext2D, axis: Axis, error: Numbers, most: number): void {
  const [from, to] = axis.state.range.value;
  const stride = Math.max(1, 1 / axis.perStep.value);
  for (let start = stride === 1 ? Math.floor(from) : from; start < to; start += stride) {
    let sum = 0;
    let count = 0;
    for (let t = Math.floor(start); t < Math.min(start + stride, error.length); t++) {
      if (Number.isNaN(error[t])) continue;
      sum += error[t];
      count++;
    }
    if (!count) continue;
    context.globalAlpha = strength(sum / count, most) * DARKEST;
    const x = axis.x(start);
    context.fillRect(x, 0, Math.max(1, axis.x(start + stride) - x), STRIP);
  }
}
