// Numbers and times as text.

/** A number with a fixed count of decimals, a true minus sign, and no "-0.00". */
export function fixed(value: number, decimals = 3): string {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

/** A number of any size, to about four significant digits. */
export function short(value: number): string {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2).replaceAll("-", "−").replace("e+", "e");
  const decimals = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4;
  return fixed(value, decimals);
}

/** As `short`, without trailing zeros: for the ends of scales and the ticks of axes. */
export function trimmed(value: number): string {
  const text = short(value);
  return text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
}

export function percent(part: number): string {
  return `${Math.round(part * 100)}%`;
}

/** A time (milliseconds since 1970, UTC), as precise as the step between rows requires. */
export function time(milliseconds: number, step: string): string {
  const text = new Date(milliseconds).toISOString();
  if (/(b|d|w|mo|me|q|y)$/.test(step)) return text.slice(0, 10);
  return `${text.slice(0, 10)} ${text.slice(11, /s$/.test(step) ? 19 : 16)}`;
}

/** A symbol, with a visible character for white space. */
export function visible(symbol: string): string {
  return symbol === "\n" ? "↵" : symbol === " " ? "␣" : symbol === "\t" ? "⇥" : symbol;
}

export function plural(count: number, one: string): string {
  return `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;
}
