// The two charts: drawn once by the server (empty), filled here. Without Bokeh the page keeps its tables.
import { ask, price } from "./common.js";

const $ = id => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const KEEP = 1500, LEAD = 5;
let items = null, palette = {}, models = null, bars = null, chart = null, lines = {}, equityTime = null;
let drawn = null, following = true, moving = false, picked = () => {}, follow = null;

export const lastBar = () => bars?.open_time.at(-1) ?? null;
export const lastEquity = () => equityTime;
export const onPick = action => { picked = action; };
export const reset = () => { bars = chart = null; setFollow(true); };

export function onFollow(button) {
  follow = button;
  button.onclick = () => { setFollow(true); frame(); };
}

function setFollow(on) {
  following = on;
  if (follow) follow.hidden = on;
}

export async function chartsReady() {
  try {
    items = globalThis.Bokeh ? await ask("/page/charts") : null;
  } catch { items = null; }
  if (!items) {
    for (const id of ["candles", "equity"]) { $(id).className = "plot none"; $(id).textContent = "Charts need the package bokeh on the server; everything else works."; }
    return;
  }
  await embed();
  dark.addEventListener("change", embed);
}

async function embed() {
  const theme = structuredClone(items[dark.matches ? "dark" : "light"]);
  palette = theme.palette;
  models = null;
  const found = [];
  for (const id of ["candles", "equity"]) {
    $(id).replaceChildren();
    await Bokeh.embed.embed_item(theme[id], id);
    found.push(Bokeh.documents.at(-1));
  }
  const [one, two] = found, get = name => one.get_model_by_name(name);
  models = { candles: get("candles"), entries: get("entries"), exits: get("exits"), stops: get("stops"), targets: get("targets"), window: get("window"), height: get("height"), volume: get("volume"), last: get("last"), equity: two.get_model_by_name("equity"), span: two.get_model_by_name("span"), worth: two.get_model_by_name("worth") };
  models.window.change.connect(() => { if (!moving) { setFollow(false); fit(); } });
  for (const name of ["entries", "exits"]) {
    const source = models[name];
    source.selected.change.connect(() => {
      const [index] = source.selected.indices;
      if (index == null) return;
      source.selected.indices = [];
      picked(source.data.id[index]);
    });
  }
  if (chart) draw();
  drawEquity();
}

export function showChart(told) {
  const fresh = told.candles, known = bars && chart?.symbol === told.symbol && chart.minutes === told.minutes;
  if (!known || (fresh.open_time.length && fresh.open_time[0] > bars.open_time.at(-1))) bars = fresh;
  else if (fresh.open_time.length) {
    const from = bars.open_time.indexOf(fresh.open_time[0]);
    const keep = from < 0 ? bars.open_time.length : from;
    for (const name in bars) bars[name] = [...bars[name].slice(0, keep), ...fresh[name]].slice(-KEEP);
  }
  const before = chart?.stamp;
  chart = { ...told, stamp: JSON.stringify([told.symbol, bars.open_time.length, bars.open_time.at(-1), bars.close.at(-1), told.entries, told.exits, told.stops]) };
  if (models && chart.stamp !== before) draw();
}

function draw() {
  const span = chart.minutes * 60000, color = bars.close.map((c, i) => c >= bars.open[i] ? palette.up : palette.down);
  const thin = (Math.max(...bars.high) - Math.min(...bars.low)) / 800;  // a bar that closed where it opened is still a line
  const top = bars.open.map((o, i) => Math.max(o, bars.close[i]) + thin / 2), bottom = bars.open.map((o, i) => Math.min(o, bars.close[i]) - thin / 2);
  drawn = { ...bars, top, bottom, color, width: bars.close.map(() => span * 0.72) };
  models.entries.data = { ...chart.entries, angle: chart.entries.side.map(s => s === "short" ? Math.PI : 0) };
  models.exits.data = { ...chart.exits, color: chart.exits.gross_r.map(r => r > 0.02 ? palette.up : r < -0.02 ? palette.down : palette.text) };
  const alpha = status => status.map(s => s === "closed" ? 0.5 : 1);
  models.stops.data = { ...chart.stops, alpha: alpha(chart.stops.status) };
  models.targets.data = { ...chart.targets, alpha: chart.targets.status.map((s, i) => chart.targets.reached[i] ? 0.9 : s === "closed" ? 0.3 : 1) };
  const close = bars.close.at(-1);
  models.last.setv({ location: close ?? 0, visible: close != null });
  if (following) frame(); else fit();
}

function frame() {
  if (!models || !bars?.time.length) return;
  const span = chart.minutes * 60000, count = Math.max(40, Math.min(200, Math.round($("candles").clientWidth / 7)));
  const end = bars.open_time.at(-1) + span * (1 + LEAD);
  moving = true;
  models.window.setv({ start: end - span * (count + LEAD), end });
  moving = false;
  fit();
}

// The prices and volumes in view, lines of signals included, fill the chart's height.
function fit() {
  const { start, end } = models.window;
  let low = Infinity, high = -Infinity, most = 0;
  const reach = (a, b) => { low = Math.min(low, a); high = Math.max(high, b); };
  const half = chart.minutes * 30000, from = bars.time.findIndex(t => t + half > start), past = bars.time.findIndex(t => t - half >= end);
  const view = Object.fromEntries(Object.entries(drawn).map(([name, values]) => [name, from < 0 ? [] : values.slice(from, past < 0 ? undefined : past)]));
  models.candles.data = view;  // bars out of view would leave slivers at the chart's edge
  view.time.forEach((_, i) => { reach(view.low[i], view.high[i]); most = Math.max(most, view.volume[i]); });
  for (const lines of [chart.stops, chart.targets]) lines.price.forEach((p, i) => { if (lines.end[i] >= start && lines.begin[i] <= end) reach(p, p); });
  if (low > high) return;
  const room = (high - low || high * 0.001) * 0.05;
  models.height.setv({ start: low - 4 * room, end: high + room });
  models.volume.setv({ start: 0, end: Math.max(most, 1e-9) * 6 });
}

export function showEquity(told) {
  for (const [account, { time, equity }] of Object.entries(told)) {
    const line = lines[account] ??= { xs: [], ys: [] };
    line.xs.push(...time); line.ys.push(...equity);
    if (line.xs.length > 4000) for (const k of ["xs", "ys"]) line[k] = line[k].filter((_, i) => i % 2 === 0 || i === line[k].length - 1);
    equityTime = Math.max(equityTime ?? 0, time.at(-1) ?? 0);
  }
  if (Object.keys(told).length) drawEquity();
}

function drawEquity() {
  const names = Object.keys(lines), shades = [palette.line, palette.target, palette.text, palette.stop];
  $("equity-now").textContent = names.map(n => (names.length > 1 ? n + " " : "") + price(lines[n].ys.at(-1))).join("   ");
  if (!models || !names.length) return;
  const ys = names.flatMap(n => lines[n].ys), xs = names.map(n => [lines[n].xs[0], lines[n].xs.at(-1)]).flat();
  const low = ys.reduce((a, b) => Math.min(a, b)), high = ys.reduce((a, b) => Math.max(a, b)), room = (high - low || high * 0.001) * 0.12;
  models.span.setv({ start: Math.min(...xs), end: Math.max(...xs, xs[0] + 60000) });
  models.worth.setv({ start: low - room, end: high + room });
  models.equity.data = { xs: names.map(n => [...lines[n].xs]), ys: names.map(n => [...lines[n].ys]), account: names, color: names.map((_, i) => shades[i % shades.length]) };
}
