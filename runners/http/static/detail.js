// The story behind a row: a decision's verdicts, a signal's targets and what happened to it.
import { ask, clock, day, el, fill, price, signed } from "./common.js";

const $ = id => document.getElementById(id);
const when = ms => `${day(ms)} ${clock(ms)} UTC`;
const head = text => el("h3", { textContent: text });

function table(names, rows) {
  const t = el("table"), top = el("tr");
  top.append(...names.map(n => el("th", { textContent: n })));
  const body = el("tbody");
  body.append(...rows.map(cells => { const tr = el("tr"); tr.append(...cells.map(c => c instanceof Node ? c : el("td", { textContent: c }))); return tr; }));
  const thead = el("thead"); thead.append(top); t.append(thead, body);
  return t;
}

function facts(pairs) {
  const box = el("div", { className: "facts" });
  box.append(...pairs.map(([k, v]) => { const d = el("div"); d.append(el("span", { textContent: k }), typeof v === "number" ? Number(v.toPrecision(7)).toLocaleString("en", { maximumFractionDigits: 8 }) : String(v ?? "–")); return d; }));
  return box;
}

function open(title, parts) {
  $("detail-title").textContent = title;
  fill($("detail-body"), parts);
  if (!$("detail").open) $("detail").showModal();
}

const link = (text, onclick) => el("button", { className: "link", textContent: text, onclick });

function flat(features, prefix = "") {
  return Object.entries(features).flatMap(([k, v]) => v && typeof v === "object" && !Array.isArray(v) ? flat(v, prefix + k + ".") : [[prefix + k, v]]);
}

export async function showDecision(id) {
  const d = await ask(`/decisions/${id}`);
  const mark = v => el("td", { textContent: v.passed ? "✓" : "✗", className: v.passed ? "up" : "down" });
  const lead = el("p", { textContent: `${when(d.time)} · ${d.outcome}${d.reason ? ": " + d.reason : ""} ` });
  if (d.signal_id) lead.append(link("the signal", () => showSignal(d.signal_id)));
  open(`${d.symbol} ${d.side} · ${d.strategy} ${d.mode}`, [lead, head("Gates, in order"), table(["", "Gate", "Saw", "Said"], d.verdicts.map(v => [mark(v), v.gate, v.value, v.reason])),
    head("Features at this close"), facts(flat(d.features))]);
}

export async function showSignal(id) {
  const s = await ask(`/signals/${id}`), reach = Math.abs(s.entry - s.stop);
  const lead = el("p", { textContent: `${when(s.close_time)} · ${s.status} · score ${s.final?.toFixed(1)}${s.probability != null ? `, such scores won ${Math.round(100 * s.probability)} % of the time` : ""} ` });
  if (s.decision_id) lead.append(link("why?", () => showDecision(s.decision_id)));
  const targets = s.targets.map((t, k) => [`target ${k + 1}`, price(t), reach ? signed((s.side === "long" ? 1 : -1) * (t - s.entry) / reach, 2) + " R" : ""]).filter((_, k) => s.targets[k] != null);
  const parts = [lead, head("Plan"), table(["", "Price", ""], [["entry", price(s.entry), ""], ["stop", price(s.stop), "−1.00 R"], ...targets]), head("Score, in points of 10"), facts(Object.entries(s.components))];
  for (const t of s.trackers) {
    const end = t.gross_r != null ? `${t.exit_type}, ${signed(t.gross_r, 2)} R before costs` + (t.net_percent != null ? `, ${signed(t.net_percent, 2)} % net` : "") : t.state.toLowerCase();
    parts.push(head(`${t.account ?? "By the candles"}: ${end}`));
    parts.push(table(["Time", "What", "Price", "Part"], t.events.map(e => [`${day(e.time)} ${clock(e.time)}`, e.kind.replace("_", " "), price(e.price), e.weight ? `${Math.round(100 * e.weight)} %` : ""])));
  }
  open(`${s.symbol} ${s.side} · ${s.strategy} ${s.mode}`, parts);
}
