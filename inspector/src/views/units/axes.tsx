// Axes of the small plots of this view, in the colours of the page, so that they follow the theme.

export interface Frame {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface Tick {
  at: number;
  text: string;
}

export function BottomAxis({ frame, ticks, label }: { frame: Frame; ticks: Tick[]; label: string }) {
  return (
    <g class="gw-axis" aria-hidden="true">
      <line x1={frame.left} x2={frame.right} y1={frame.bottom} y2={frame.bottom} />
      {ticks.map(({ at, text }) => (
        <g key={text} transform={`translate(${at} ${frame.bottom})`}>
          <line y2={4} />
          <text y={16} text-anchor="middle">
            {text}
          </text>
        </g>
      ))}
      <text class="gw-axis-name" x={frame.right} y={frame.bottom + 31} text-anchor="end">
        {label}
      </text>
    </g>
  );
}

export function LeftAxis({ frame, ticks }: { frame: Frame; ticks: Tick[] }) {
  return (
    <g class="gw-axis" aria-hidden="true">
      {ticks.map(({ at, text }) => (
        <g key={text} transform={`translate(0 ${at})`}>
          <line class="gw-axis-grid" x1={frame.left} x2={frame.right} />
          <text x={frame.left - 6} dy="0.32em" text-anchor="end">
            {text}
          </text>
        </g>
      ))}
    </g>
  );
}

/** Powers of ten from low to high. */
export function powersOfTen([low, high]: [number, number]): number[] {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const count = Math.floor(Math.log10(high) + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, k) => 10 ** (first + k));
}
