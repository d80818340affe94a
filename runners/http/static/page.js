// The page: polls one feed, fills the tables, and hands new points to the charts that the server drew once.
import { chartsReady, showChart, showEquity, onPick, onFollow, reset, lastBar, lastEquity } from "./charts.js";
import { showDecision, showSignal } from "./detail.js";
import { el, fill, ask, price, signed, clock, day, KeyNeeded } from "./common.js";

const $ = id => document.getElementById(id);
const EVERY = 1000;
let symbol = location.hash.slice(1) || null, asked = 0;

const row = (cells, onclick) => {
  const tr = el("tr", { tabIndex: 0, onclick, onkeydown: e => { if (e.key === "Enter") onclick(); } });
  tr.append(...cells);
  return tr;
};
const td = (text, cls) => el("td", { textContent: text, className: cls ?? "" });
const tagged = (text, cls) => { const cell = el("td"); cell.append(el("span", { className: `tag ${cls}`, textContent: text })); return cell; };
const none = (columns, text) => { const tr = el("tr", { className: "empty" }); tr.append(el("td", { colSpan: columns, textContent: text })); return tr; };
const toned = x => x == null ? "" : x > 0.0005 ? "up" : x < -0.0005 ? "down" : "";

function pick(name) {
  symbol = name;
  history.replaceState(null, "", "#" + name);
  reset();
  poll();
}

function service(s, minutes) {
  const stale = s.age != null && !s.done && s.progress == null && s.age > 130 * minutes;
  $("mode").textContent = [s.mode, s.venue].filter(Boolean).join(" · ");
  $("mode").className = "pill" + (s.mode === "live" ? " live" : "");
  $("status").className = "status" + (stale ? " off" : s.ready ? " ok" : "");
  $("status").lastChild.textContent = s.done ? "replay finished" : stale ? `no new bar for ${Math.round(s.age / 60)} minutes` : s.ready ? "running" : "waiting for " + s.missing.join(", ");
  $("clock").textContent = s.time ? `${day(s.time)} ${clock(s.time)} UTC` : "";
  $("progress").hidden = s.progress == null;
  if (s.progress != null) $("progress").firstElementChild.style.width = `${100 * s.progress}%`;
  $("waiting").textContent = s.waiting_messages ? `${s.waiting_messages} messages waiting` : "";
}

function numbers(n, open) {
  const decided = n.wins + n.losses;
  const tile = (label, value, cls = "", title = "") => {
    const box = el("div", { className: "tile", title });
    box.append(el("b", { textContent: value, className: cls }), el("span", { textContent: label }));
    return box;
  };
  fill($("numbers"), [
    tile("signals", n.signals), tile("open", open), tile("closed", n.count),
    tile(`won of ${decided} decided`, decided ? `${Math.round(100 * n.wins / decided)} %` : "–", "", "closes within 0.02 R of nothing are left out"),
    tile("R in all, before costs", n.count ? signed(n.total_r, 2) : "–", toned(n.total_r)),
    tile("evaluations near a signal", n.decisions.toLocaleString("en"), "", Object.entries(n.reasons).map(([k, v]) => `${v} ${k}`).join("\n")),
  ]);
}

function held(p) {
  const part = Math.round(100 * p.quantity_left / (p.quantity || 1));
  return p.state.toLowerCase() + (part < 100 ? ` ${part}%` : "");
}

function positions(list) {
  $("positions-count").textContent = list.length || "";
  fill($("positions"), list.length ? list.map(p => {
    const name = el("td");
    name.append(el("span", { className: `tag ${p.side}`, textContent: p.side }), ` ${p.symbol}`);
    if (p.account) name.append(el("small", { className: "hint", textContent: ` ${p.account}` }));
    return row([name, td(held(p)), td(price(p.entry), "r"), td(price(p.stop), "r"), td(price(p.last), "r"),
      td(p.open_r == null ? "–" : signed(p.open_r, 2) + " R", "r " + toned(p.open_r))], () => showSignal(p.signal_id));
  }) : [none(6, "Nothing is open.")]);
}

function decisions(list) {
  fill($("decisions"), list.length ? list.map(d => {
    const name = el("td");
    name.append(el("span", { className: `tag ${d.side}`, textContent: d.side }), ` ${d.symbol}`);
    return row([td(`${day(d.time)} ${clock(d.time)}`), name, td([d.strategy, d.mode].filter(Boolean).join(" ")), tagged(d.outcome, d.outcome), td(d.reason)], () => showDecision(d.id));
  }) : [none(5, "No bar has come near a signal yet.")]);
}

const SAID = { entry: "filled at", tp1: "target 1 at", tp2: "target 2 at", tp3: "target 3 at", stop: "stopped at", exit: "closed at", cancelled: "cancelled", signal: "signal at" };

function news(list) {
  let last = "";
  fill($("news"), list.length ? list.flatMap(n => {
    const today = day(n.time), heading = today === last ? [] : [el("li", { className: "day", textContent: today })];
    last = today;
    const li = el("li", { onclick: () => showSignal(n.signal_id) });
    const text = el("span");
    text.append(el("b", { textContent: n.symbol, style: "font-weight:600" }), ` ${n.side} `, el("small", { textContent: `${SAID[n.kind] ?? n.kind} ${n.kind === "cancelled" ? "" : price(n.price)}` }));
    const end = n.kind === "signal" ? el("span", { className: "tag", textContent: `score ${n.final?.toFixed(0)}` })
      : n.gross_r != null ? el("span", { className: toned(n.gross_r), textContent: `${signed(n.gross_r, 2)} R` }) : el("span");
    li.append(el("time", { textContent: clock(n.time), title: today }), text, end);
    return [...heading, li];
  }) : [el("li", { className: "empty", textContent: "Signals and what becomes of them appear here." })]);
}

function picker(names, chosen, open) {
  if ($("symbols").dataset.names !== names.join()) {
    $("symbols").dataset.names = names.join();
    fill($("symbols"), names.map(name => el("button", { className: "chip", textContent: name.replace(/USD[TC]$/, ""), title: name, onclick: () => pick(name) })));
  }
  for (const chip of $("symbols").children) {
    chip.setAttribute("aria-pressed", String(chip.title === chosen));
    chip.dataset.open = open.find(p => p.symbol === chip.title)?.side ?? "";
  }
}

async function poll() {
  const turn = ++asked, query = new URLSearchParams();
  if (symbol) query.set("symbol", symbol);
  if (lastBar() != null) query.set("since", lastBar());
  if (lastEquity() != null) query.set("equity_since", lastEquity());
  try {
    const told = await ask(`/page/feed?${query}`);
    if (turn !== asked) return;
    $("door").hidden = true;
    service(told.service, told.chart?.minutes ?? 15); numbers(told.numbers, told.positions.filter(p => p.account == null).length); positions(told.positions); decisions(told.decisions); news(told.news);
    picker(told.symbols, told.chart?.symbol, told.positions);
    if (told.chart) {
      symbol ??= told.chart.symbol;
      $("title").textContent = `${told.chart.symbol} · ${told.chart.minutes < 60 ? told.chart.minutes + "m" : told.chart.minutes / 60 + "h"}`;
      showChart(told.chart);
    }
    showEquity(told.equity);
  } catch (error) {
    if (error instanceof KeyNeeded) $("door").hidden = false;
    else { $("status").className = "status off"; $("status").lastChild.textContent = "no answer, trying again"; console.warn(error.message); }
  }
}

async function live() {
  await chartsReady();
  for (;;) {
    if (!document.hidden) await poll();
    await new Promise(done => setTimeout(done, EVERY));
  }
}

$("door").addEventListener("submit", event => { event.preventDefault(); sessionStorage.setItem("key", $("key").value); location.reload(); });
$("detail").addEventListener("click", event => { if (event.target === $("detail")) $("detail").close(); });
onPick(showSignal);
onFollow($("follow"));
live();
