// The API's description, from openapi.json, with a button to try each question. No assets from elsewhere.
import { KeyNeeded, ask, el, fill } from "./common.js";

const $ = id => document.getElementById(id);

function kind(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  return schema.enum?.join(" | ") ?? schema.type ?? "anything";
}

function table(names, rows) {
  const t = el("table"), body = el("tbody"), head = el("thead"), top = el("tr");
  top.append(...names.map(n => el("th", { textContent: n }))); head.append(top);
  body.append(...rows.map(cells => { const tr = el("tr"); tr.append(...cells.map(c => el("td", { textContent: c ?? "" }))); return tr; }));
  t.append(head, body);
  return t;
}

function fields(schema, all) {
  const name = (schema?.items?.$ref ?? schema?.$ref)?.split("/").at(-1);
  return name ? Object.entries(all[name].properties).map(([k, v]) => [k, kind(v), v.description]) : null;
}

function route(path, about, all) {
  const box = el("details"), top = el("summary"), body = el("div", { className: "body" });
  top.append(el("code", { textContent: `GET ${path}` }), el("span", { textContent: about.summary ?? "" }));
  if (about.parameters) body.append(el("h3", { textContent: "Asks" }), table(["Name", "Kind", ""], about.parameters.map(p => [p.name, kind(p.schema), p.description])));
  const shown = fields(about.responses["200"]?.content?.["application/json"]?.schema, all);
  if (shown) body.append(el("h3", { textContent: "Answers" }), table(["Field", "Kind", ""], shown));
  if (!path.includes("{")) {
    const out = el("pre", { hidden: true });
    const run = el("button", { className: "link", textContent: "try it", onclick: async () => {
      const answer = await fetch(path + (about.parameters?.some(p => p.name === "limit") ? "?limit=2" : ""), { headers: { "X-API-Key": sessionStorage.getItem("key") ?? "" } });
      const text = await answer.text();
      out.hidden = false;
      out.textContent = answer.headers.get("content-type")?.includes("json") ? JSON.stringify(JSON.parse(text), null, 2) : text;
    } });
    body.append(el("h3"), run, out);
  }
  box.append(top, body);
  return box;
}

$("door").addEventListener("submit", event => { event.preventDefault(); sessionStorage.setItem("key", $("key").value); location.reload(); });
try {
  const api = await ask("/openapi.json");
  $("about").textContent = api.info.description;
  fill($("routes"), Object.entries(api.paths).map(([path, methods]) => route(path, methods.get, api.components.schemas)));
} catch (error) {
  if (error instanceof KeyNeeded) $("door").hidden = false; else $("about").textContent = error.message;
}
