// The page: a stream of rows with what the model gives of them, or a text that the model reads and continues.

const element = (id) => document.getElementById(id);
const bytesOf = (text) => Uint8Array.from(atob(text), (mark) => mark.charCodeAt(0));
/** Colours that differ in lightness too, on light and on dark. */
const COLOURS = ["#00897b", "#d9822b", "#5c6bc0", "#c2185b", "#7c8b1e", "#8d6e63"];
const SPEEDS = [1, 2, 4, 8, 16, 32, 64];
const HISTORY = 72;

async function start() {
  const model = await load(bytesOf(WASM));
  const size = Math.round((WASM.length * 3) / 4 / 1000);
  const sizes = [...new Set(about.units)].join(", ");
  const layers = about.units.length > 1 ? `${about.units.length} layers` : "one layer";
  element("about").textContent =
    `An LSTM with ${layers} of ${sizes} units runs step by step in this page: ${size} KB of WebAssembly. Nothing leaves your browser.`;
  element("footer").textContent = `Written by Gatewright ${about.version}. Model ${about.fingerprint.slice(0, 16)}.`;
  if (about.kind === "language model") startText(model);
  else startStream(model);
}

/** Streams of rows. */
function startStream(model) {
  const series = about.kind === "forecaster";
  const session = model.session();
  let data = null, at = -1, answers = [], timer = 0;

  const say = (text, wrong = false) => {
    element("status").textContent = text;
    element("status").classList.toggle("wrong", wrong);
  };
  const playing = () => timer !== 0;

  function open(table, name) {
    try {
      data = rowsOf(about, table);
      if (!data.rows.length) throw new Error("The table has no row that can be read.");
    } catch (error) {
      data = null;
      say(error.message, true);
      return;
    }
    restart();
    const notes = [name];
    if (data.gaps) notes.push(`${data.gaps} missing inputs have the value before them`);
    if (about.timeZone) notes.push(`times are read as the clock of ${about.timeZone}`);
    element("note").textContent = `${notes.join("; ")}.`;
    element("note").hidden = false;
    play();
  }

  function restart() {
    pause();
    session.reset();
    [at, answers] = [-1, []];
    for (const id of ["play", "next", "restart"]) element(id).disabled = false;
    for (const id of ["figure", "below"]) element(id).hidden = false;
    next();
  }

  function next() {
    if (at + 1 >= data.rows.length) {
      pause();
      return;
    }
    try {
      answers.push(session.step(data.rows[at + 1]));
    } catch (error) {
      pause();
      say(`Row ${at + 2} is refused: ${error.message}.`, true);
      return;
    }
    at += 1;
    render();
  }

  function play() {
    if (at + 1 >= data.rows.length) restart();
    element("play").textContent = "Pause";
    element("status").setAttribute("aria-live", "off");
    timer = setInterval(next, 1000 / SPEEDS[element("speed").value]);
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    element("play").textContent = "Play";
    element("status").setAttribute("aria-live", "polite");
  }

  function render() {
    say(`Row ${at + 1} of ${data.rows.length}, ${data.labels[at]}: ${series ? forecast() : classes()}`);
    inputs();
  }

  /** Quantile `level` of a target, `ahead` steps after row `from`. */
  function quantile(from, ahead, target, level) {
    return answers[from][(ahead * about.targets.length + target) * about.quantiles.length + level];
  }

  function forecast() {
    const target = Number(element("target").value), name = about.targets[target];
    const last = about.quantiles.length - 1, middle = about.quantiles.indexOf(0.5);
    const first = Math.max(0, at - HISTORY + 1), observed = data.columns[name];
    const past = range(first, at).map((step) => [step, observed[step]]);
    const anchor = [at, observed[at]];
    const ahead = range(0, about.horizon - 1);
    const line = (level) => ahead.map((j) => [at + 1 + j, quantile(at, j, target, level)]);
    const band = last > 0 ? [ahead.map((j) => [at + 1 + j, quantile(at, j, target, 0), quantile(at, j, target, last)])] : [];
    if (band.length && !Number.isNaN(anchor[1])) band[0].unshift([at, anchor[1], anchor[1]]);
    const before = range(Math.max(1, first), at).map((step) => [step, quantile(step - 1, 0, target, middle)]);
    const actual = range(at, Math.min(at + about.horizon, observed.length - 1)).map((step) => [step, observed[step]]);
    element("caption").textContent = `${name}: observed, and the next ${about.horizon} ${about.horizon > 1 ? "steps" : "step"}`;
    draw(element("chart"), {
      lines: [
        { name: "before", values: before },
        { name: "past", values: past },
        { name: "actual", values: actual },
        { name: "median", values: [anchor, ...line(middle)] },
      ],
      bands: band,
      now: at,
      first,
      last: Math.max(first + Math.min(HISTORY, data.labels.length) - 1, at) + about.horizon,
      label: (step) => data.labels[step] ?? `+${step - at}`,
    });
    element("answer-title").textContent = `Forecast of ${name}`;
    const heads = about.quantiles.map((level) => `<th scope="col">${Math.round(1000 * level) / 10}%</th>`).join("");
    const rows = ahead.map((j) => {
      const cells = about.quantiles.map((_, level) => `<td>${shown(quantile(at, j, target, level))}</td>`).join("");
      return `<tr><th scope="row">+${j + 1}</th>${cells}</tr>`;
    });
    element("answer").innerHTML =
      `<div class="tall"><table><thead><tr><th scope="col">step</th>${heads}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
    const young = session.steps < about.context ? `; the model is sure after ${about.context} rows` : "";
    const spread = last > 0 ? ` (${shown(quantile(at, 0, target, 0))} to ${shown(quantile(at, 0, target, last))})` : "";
    return `the next ${name} is ${shown(quantile(at, 0, target, middle))}${spread}${young}.`;
  }

  function classes() {
    const first = Math.max(0, at - HISTORY + 1);
    const colour = (k) => COLOURS[k % COLOURS.length];
    const shares = about.classes.map((name, k) => [name, answers[at][k], colour(k)]);
    element("caption").textContent = `Probability of each class ${about.kind === "tagger" ? "of the row" : "by the rows so far"}`;
    draw(element("chart"), {
      lines: about.classes.map((_, k) => ({
        name: "median",
        colour: colour(k),
        values: range(first, at).map((step) => [step, answers[step][k]]),
      })),
      bands: [],
      now: at,
      first,
      last: Math.max(first + Math.min(HISTORY, data.labels.length) - 1, at),
      label: (step) => data.labels[step] ?? "",
      bounds: [0, 1],
    });
    element("legend").innerHTML = legend(about.classes.map((name, k) => ["median", name, colour(k)]));
    shares.sort((a, b) => b[1] - a[1]);
    element("answer-title").textContent = "Classes";
    element("answer").innerHTML = bars(shares.slice(0, 12));
    return `${shares[0][0]}, ${(100 * shares[0][1]).toFixed(1)}%.`;
  }

  function inputs() {
    const names = Object.keys(about.scaler).slice(0, 8), first = Math.max(0, at - HISTORY + 1);
    if (element("inputs").childElementCount !== names.length)
      element("inputs").innerHTML = names
        .map((name) => `<div><span title="${escaped(name)}">${escaped(name)}</span><svg aria-hidden="true"></svg><output></output></div>`)
        .join("");
    names.forEach((name, k) => {
      const [, svg, output] = element("inputs").children[k].children;
      const values = Array.from(data.columns[name].subarray(first, at + 1));
      sparkline(svg, values);
      const words = about.categories[name];
      output.textContent = words ? (words[values.at(-1) - 1] ?? "unknown") : shown(values.at(-1));
    });
  }

  if (series) {
    element("target").innerHTML = about.targets.map((name, k) => `<option value="${k}">${escaped(name)}</option>`).join("");
    element("target-label").hidden = about.targets.length < 2;
    element("legend").innerHTML = legend([
      ["past", "observed"],
      ["median", "forecast"],
      ...(about.quantiles.length > 1 ? [["band", `${100 * about.quantiles[0]}% to ${100 * about.quantiles.at(-1)}%`]] : []),
      ["before", "forecast, one step before"],
      ["actual", "what came"],
    ]);
  }
  element("example").hidden = about.transform.length > 0;
  element("stream").hidden = false;
  say("Open a table with the columns that the model was trained on, or look at example data.");
  element("file").addEventListener("change", async ({ target }) => {
    if (target.files[0]) open(parseTable(await target.files[0].text()), target.files[0].name);
  });
  element("example").addEventListener("click", () => open(madeUp(about), "Example data, made up of waves and noise"));
  element("play").addEventListener("click", () => (playing() ? pause() : play()));
  element("next").addEventListener("click", () => {
    pause();
    next();
  });
  element("restart").addEventListener("click", restart);
  element("target").addEventListener("change", render);
  element("speed").addEventListener("input", ({ target }) => {
    target.setAttribute("aria-valuetext", `${SPEEDS[target.value]} rows a second`);
    if (playing()) {
      pause();
      play();
    }
  });
  addEventListener("resize", () => at >= 0 && render());
}

/** Whole numbers from `first` to `last`. */
function range(first, last) {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, k) => first + k);
}

/** Texts, symbol by symbol. */
function startText(model) {
  const session = model.session(), bytes = about.tokens !== "characters";
  const numbers = new Map(about.symbols.map((symbol, k) => [symbol, k]));
  let read = [], scores = null, timer = 0;

  const symbolsOf = (text) =>
    bytes ? Array.from(new TextEncoder().encode(text)) : Array.from(text, (each) => numbers.get(each) ?? 0);
  const written = (symbol) => (bytes ? about.symbols[symbol] : JSON.stringify(about.symbols[symbol]).slice(1, -1));

  function step(symbol) {
    scores = session.step(symbol);
    read.push(symbol);
  }

  /** Reads a text; goes on where it only became longer. */
  function follow() {
    const symbols = symbolsOf(element("prompt").value);
    if (read.length > symbols.length || read.some((symbol, k) => symbol !== symbols[k])) {
      session.reset();
      [read, scores] = [[], null];
    }
    symbols.slice(read.length).forEach(step);
    render();
  }

  function chances(temperature) {
    const largest = Math.max(...scores);
    const shares = Array.from(scores, (score) => Math.exp((score - largest) / temperature));
    const sum = shares.reduce((a, b) => a + b);
    return shares.map((share) => share / sum);
  }

  function render() {
    element("read").textContent = `${read.length} ${bytes ? "bytes or tokens" : "characters"} read.`;
    if (!scores) {
      element("scores").innerHTML = '<p class="small">Nothing was read yet.</p>';
      return;
    }
    const shares = chances(1).map((share, k) => [written(k) === " " ? "space" : written(k), share]);
    element("scores").innerHTML = bars(shares.sort((a, b) => b[1] - a[1]).slice(0, 12));
  }

  function drawn(temperature) {
    if (temperature === 0) return scores.indexOf(Math.max(...scores));
    let rest = Math.random();
    const shares = chances(temperature);
    return Math.max(0, shares.findIndex((share) => (rest -= share) < 0));
  }

  function goOn() {
    if (!scores) step(0);
    const decoder = new TextDecoder();
    let left = 400;
    element("stop").disabled = false;
    element("continue").disabled = true;
    element("prompt").readOnly = true;
    timer = setInterval(() => {
      const symbol = drawn(element("temperature").value / 10);
      const text = bytes ? decoder.decode(Uint8Array.from(about.bytes[symbol]), { stream: true }) : about.symbols[symbol];
      if ((about.separator && symbol === about.symbols.length - 1) || left-- === 0) {
        stop();
        return;
      }
      element("prompt").value += text;
      element("prompt").scrollTop = element("prompt").scrollHeight;
      step(symbol);
      render();
    }, 30);
  }

  function stop() {
    clearInterval(timer);
    element("stop").disabled = true;
    element("continue").disabled = false;
    element("prompt").readOnly = false;
  }

  element("text").hidden = false;
  element("prompt").addEventListener("input", follow);
  element("continue").addEventListener("click", goOn);
  element("stop").addEventListener("click", stop);
  element("temperature").addEventListener("input", ({ target }) => target.setAttribute("aria-valuetext", target.value / 10));
  render();
}

start().catch((error) => {
  element("about").textContent = `The model does not run here: ${error.message}`;
});
