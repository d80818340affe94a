// What every part of the page needs: elements, questions to the server, numbers and times as text.
export class KeyNeeded extends Error {}

export const el = (name, set = {}) => Object.assign(document.createElement(name), set);
export const fill = (parent, children) => parent.replaceChildren(...children);

export async function ask(path) {
  const key = sessionStorage.getItem("key");
  const answer = await fetch(path, { headers: key ? { "X-API-Key": key } : {}, signal: AbortSignal.timeout(15000) });
  if (answer.status === 401) throw new KeyNeeded();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

export function price(x) {
  if (x == null) return "–";
  const size = Math.abs(x), digits = size >= 1000 ? 2 : size >= 10 ? 3 : size >= 1 ? 4 : Math.min(10, 4 + Math.max(0, -Math.floor(Math.log10(size || 1)) - 1));
  return x.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: digits });
}

export const signed = (x, digits) => x == null ? "–" : (x < 0 ? "−" : "+") + Math.abs(x).toFixed(digits);
export const clock = ms => new Date(ms).toISOString().slice(11, 16);
export const day = ms => new Date(ms).toISOString().slice(0, 10);
