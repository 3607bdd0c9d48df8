// Drawings as SVG: lines over steps, a forecast with its band, bars.

const escaped = (text) => String(text).replace(/[&<>"]/g, (mark) => `&#${mark.charCodeAt(0)};`);

/** A number with about four digits. */
function shown(value) {
  if (Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
  return size !== 0 && (size >= 1e7 || size < 1e-3) ? value.toExponential(2) : value.toFixed(digits);
}

/** About `count` round numbers within a range. */
function ticksOf(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k += 1) ticks.push(k * step);
  return ticks.map((tick) => ({ tick, text: tick.toFixed(Math.min(10, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))) }));
}

/** The path of points; a missing one is a gap. */
function pathOf(points) {
  let pen = "M";
  return points
    .map(([x, y]) => {
      if (Number.isNaN(y)) {
        pen = "M";
        return "";
      }
      const part = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
      return part;
    })
    .join("");
}

/**
 * Draws lines and bands over steps.
 * @param {SVGElement} svg where
 * @param {{lines: {name: string, values: [number, number][]}[], bands: [number, number, number][][], now: number,
 *   first: number, last: number, label: (at: number) => string, bounds?: [number, number]}} what points are a step and
 *   its value, those of bands a step, a low and a high value
 */
function draw(svg, { lines, bands, now, first, last, label, bounds }) {
  const width = svg.clientWidth || 800, height = svg.clientHeight || 320;
  const numbers = [
    ...lines.flatMap(({ values }) => values.map(([, value]) => value)),
    ...bands.flatMap((band) => band.flatMap(([, low, high]) => [low, high])),
  ].filter(Number.isFinite);
  let [low, high] = bounds ?? [Math.min(...numbers), Math.max(...numbers)];
  if (!bounds) {
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    [low, high] = [low - room, high + room];
  }
  const ticks = ticksOf(low, high, 5);
  const left = 12 + 7.5 * Math.max(...ticks.map(({ text }) => text.length)), right = 10, top = 12, bottom = 26;
  const x = (at) => left + ((at - first) / Math.max(1, last - first)) * (width - left - right);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  const parts = ticks.map(
    ({ tick, text }) =>
      `<line class="grid" x1="${left}" x2="${width - right}" y1="${y(tick)}" y2="${y(tick)}"/>` +
      `<text x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${text}</text>`,
  );
  const marks = Math.max(2, Math.floor((width - left) / (40 + 7.5 * label(first).length)));
  const places = new Set(Array.from({ length: marks }, (_, k) => Math.round(first + ((last - first) * k) / (marks - 1))));
  for (const at of places) {
    const anchor = at === first ? "start" : at === last ? "end" : "middle";
    parts.push(`<text x="${x(at)}" y="${height - 6}" text-anchor="${anchor}">${escaped(label(at))}</text>`);
  }
  for (const band of bands) {
    const upper = band.map(([at, , value]) => [x(at), y(value)]);
    const lower = band.map(([at, value]) => [x(at), y(value)]).reverse();
    parts.push(`<path class="band" d="${pathOf([...upper, ...lower])}Z"/>`);
  }
  parts.push(`<line class="now" x1="${x(now)}" x2="${x(now)}" y1="${top}" y2="${height - bottom}"/>`);
  lines.forEach(({ name, values, colour }) => {
    const style = colour ? ` style="stroke:${colour}"` : "";
    parts.push(`<path class="${name}"${style} d="${pathOf(values.map(([at, value]) => [x(at), y(value)]))}"/>`);
  });
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.innerHTML = parts.join("");
}

/** A line without axes. */
function sparkline(svg, values) {
  const width = svg.clientWidth || 200, height = svg.clientHeight || 30;
  const finite = values.filter(Number.isFinite);
  const low = Math.min(...finite), high = Math.max(...finite), range = high - low || 1;
  const points = values.map((value, k) => [
    (k / Math.max(1, values.length - 1)) * width,
    high === low ? height / 2 : 3 + ((high - value) / range) * (height - 6),
  ]);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.innerHTML = `<path class="past" d="${pathOf(points)}"/>`;
}

/** Bars of shares, as a list. */
function bars(shares) {
  const items = shares.map(
    ([name, share, colour]) =>
      `<li><span title="${escaped(name)}">${escaped(name)}</span>` +
      `<i style="width:${(100 * share).toFixed(2)}%${colour ? `;background:${colour}` : ""}"></i>` +
      `<span>${(100 * share).toFixed(1)}%</span></li>`,
  );
  return `<ul class="bars">${items.join("")}</ul>`;
}

/** Entries of a legend: the class of a line or a band, and what it is. */
function legend(entries) {
  return entries
    .map(([kind, text, colour]) => {
      const style = colour ? ` style="stroke:${colour}"` : "";
      const mark =
        kind === "band"
          ? '<rect class="band" x="0" y="1" width="26" height="12"/>'
          : `<path class="${kind}"${style} d="M0 7H26"/>`;
      return `<li><svg viewBox="0 0 26 14" aria-hidden="true">${mark}</svg>${escaped(text)}</li>`;
    })
    .join("");
}
