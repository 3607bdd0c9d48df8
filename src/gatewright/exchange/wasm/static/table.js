// From the text of a table to the rows that the model reads.

const WAVES = { sine: Math.sin, cosine: Math.cos };
const DAY = 86_400_000;
const MISSING = new Set(["", "na", "nan", "null", "none", "-", "?"]);

/** Cuts a CSV into names and rows of cells; the delimiter is the one that the first line has most of. */
function parseTable(text) {
  const line = text.slice(0, text.search(/[\r\n]|$/));
  const count = (mark) => line.split(mark).length;
  const delimiter = [",", ";", "\t"].sort((a, b) => count(b) - count(a))[0];
  const lines = [];
  let cells = [], cell = "", quoted = false;
  for (let at = text.startsWith("\ufeff") ? 1 : 0; at < text.length; at += 1) {
    const mark = text[at];
    if (quoted) {
      if (mark !== '"') cell += mark;
      else if (text[at + 1] === '"') cell += text[++at];
      else quoted = false;
    } else if (mark === '"') quoted = true;
    else if (mark === delimiter || mark === "\n") {
      cells.push(cell.trim());
      cell = "";
      if (mark === "\n") {
        lines.push(cells);
        cells = [];
      }
    } else cell += mark;
  }
  if (cell || cells.length) lines.push([...cells, cell.trim()]);
  const [names = [], ...rows] = lines.filter((each) => each.some((one) => one !== ""));
  return { names, rows };
}

/** A time as it is written, whatever its zone, in milliseconds; NaN for anything else. */
function timeOf(text) {
  const found = /^(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?/.exec(text);
  if (!found) return Number.NaN;
  const [, year, month, day, hour = 0, minute = 0, second = 0] = found.map((each) => (each === undefined ? 0 : Number(each)));
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** Fraction of the day, the week or the year of a time. */
function phaseOf(part, time) {
  const days = time / DAY;
  if (part === "hour_of_day") return days - Math.floor(days);
  if (part === "day_of_week") return (((days + 3) % 7) + 7) % 7 / 7; // 1 January 1970 was a Thursday
  const year = new Date(time).getUTCFullYear();
  const first = Date.UTC(year, 0, 1);
  return (time - first) / (Date.UTC(year + 1, 0, 1) - first);
}

/** The columns of a table by name: texts of a category as indices, numbers as numbers, anything missing as NaN. */
function columnsOf(about, { names, rows }) {
  const wanted = Object.keys(about.scaler);
  const absent = wanted.filter((name) => !names.includes(name));
  if (absent.length) throw new Error(`The table has no column ${absent.join(", ")}; it has ${names.join(", ")}.`);
  const columns = {};
  for (const name of wanted) {
    const place = names.indexOf(name), values = about.categories[name];
    columns[name] = Float64Array.from(rows, (cells, at) => {
      const cell = cells[place] ?? "";
      if (values) return values.indexOf(cell) + 1;
      if (MISSING.has(cell.toLowerCase())) return Number.NaN;
      if (Number.isNaN(Number(cell))) throw new Error(`Row ${at + 1} of column ${name}: ${cell} is no number.`);
      return Number(cell);
    });
  }
  return columns;
}

/** Fills gaps with the value before, or with the mean; returns how many there were. */
function filled(about, columns, names) {
  let gaps = 0;
  for (const name of names)
    columns[name].forEach((value, at, all) => {
      if (!Number.isNaN(value)) return;
      gaps += 1;
      all[at] = at ? all[at - 1] : about.scaler[name][0];
    });
  return gaps;
}

/**
 * The rows of a table as the model reads them.
 * @returns {{rows: Float64Array[], columns: Object<string, Float64Array>, labels: string[], gaps: number}}
 */
function rowsOf(about, table) {
  const columns = columnsOf(about, table);
  const place = table.names.findIndex((_, at) => !Number.isNaN(timeOf(table.rows[0]?.[at] ?? "")));
  const labels = table.rows.map((cells, at) => (place < 0 ? `${at + 1}` : cells[place]));
  const series = about.kind === "forecaster";
  const given = series ? [...about.past, ...about.static, ...about.known] : about.columns.filter((name) => !about.missing.includes(name));
  const gaps = filled(about, columns, given);
  if (!series) {
    const rows = table.rows.map((_, at) => Float64Array.from(about.columns, (name) => columns[name][at]));
    return { rows, columns, labels, gaps };
  }
  const times = about.calendar.length ? table.rows.map((cells) => timeOf(cells[place] ?? "")) : [];
  const bad = times.findIndex(Number.isNaN);
  if (bad >= 0) throw new Error(`Row ${bad + 1} has no time such as 2024-05-01 13:00, which the calendar inputs need.`);
  const last = table.rows.length - (about.known.length ? about.horizon : 0);
  const rows = Array.from({ length: Math.max(0, last) }, (_, at) =>
    Float64Array.from([
      ...[...about.targets, ...about.past, ...about.static].map((name) => columns[name][at]),
      ...about.calendar.flatMap((part) => Object.values(WAVES).map((wave) => wave(2 * Math.PI * phaseOf(part, times[at])))),
      ...about.known.flatMap((name) => Array.from(columns[name].subarray(at + 1, at + 1 + about.horizon))),
    ]),
  );
  return { rows, columns, labels, gaps };
}

/** A table that is made up: waves and noise with the mean and the spread of each column. */
function madeUp(about, count = 240) {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647 - 0.5;
  const names = Object.keys(about.scaler);
  const units = { m: 60_000, min: 60_000, h: 3_600_000, d: DAY, w: 7 * DAY };
  const [, number = 1, unit = "d"] = /^(\d*)(min|[mhdw])$/.exec(about.step ?? "") ?? [];
  const step = (Number(number) || 1) * units[unit];
  const wander = names.map(() => 0);
  const rows = Array.from({ length: count }, (_, at) => [
    new Date(Date.UTC(2024, 0, 1) + at * step).toISOString().slice(0, 19).replace("T", " "),
    ...names.map((name, k) => {
      const values = about.categories[name];
      if (values) return values[Math.floor((random() + 0.5) * values.length * 0.999)];
      wander[k] = 0.9 * wander[k] + random();
      const [mean, scale] = about.scaler[name];
      return `${mean + scale * (Math.sin((2 * Math.PI * at) / (unit === "h" ? 24 : 30) + k) + 0.6 * wander[k])}`;
    }),
  ]);
  return { names: ["time", ...names], rows };
}
