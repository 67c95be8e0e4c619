// The table of the last requests.

import { el, milliseconds, svg } from "./dom.js";

const shown = new Map(); // the rows by their requests: one that stays keeps its focus, and what was opened
const PARTS = [["batch", "batch_ms", "part-0"], ["queue", "queue_ms", "part-1"], ["model", "compute_ms", "part-2"]];
const LOOKS = { "wait for batch": "part-0", queue: "part-1", model: "part-2", decode: "part-4", encode: "part-4" };

export function showRequests(body, requests) {
  const keys = requests.map((request) => `${request.request_id} ${request.at_s}`);
  const added = requests.map((request, at) => [keys[at], request]).filter(([key]) => !shown.has(key));
  const gone = [...shown].filter(([key]) => !keys.includes(key)); // pushed out, or the function was started again
  if (!added.length && !gone.length) return;
  if (!shown.size) body.replaceChildren();
  for (const [key, element] of gone) {
    shown.delete(key);
    element.remove();
  }
  for (const [key, request] of added) shown.set(key, row(request));
  body.prepend(...added.map(([key]) => shown.get(key)));
  if (!shown.size) body.replaceChildren(el("tr", {}, el("td", { colSpan: 7 }, "none yet")));
}

function row(request) {
  return el(
    "tr",
    {},
    el("td", {}, new Date(request.at_s * 1000).toLocaleTimeString()),
    el("td", { className: request.status >= 400 ? "bad" : "" }, String(request.status)),
    el("td", { className: "number" }, milliseconds(request.duration_ms)),
    el("td", {}, parts(request), waterfall(request)),
    el("td", { className: "mono" }, request.path),
    el("td", { className: "mono" }, request.request_id),
    el("td", { className: "mono" }, request.trace_id || "–"),
  );
}

function parts(request) {
  const known = PARTS.map(([name, key, look]) => [name, request[key], look]).filter(([, ms]) => ms > 0);
  if (!known.length) return "–";
  const text = known.map(([name, ms]) => `${name} ${milliseconds(ms)}`).join(", ");
  const bar = svg("svg", { width: "144", height: "8", viewBox: `0 0 ${Math.max(request.duration_ms, 0.001)} 1`, preserveAspectRatio: "none", "aria-hidden": "true" });
  let at = 0;
  for (const [, ms, look] of known) {
    bar.append(svg("rect", { x: at, y: 0, width: ms, height: 1, class: look }));
    at += ms;
  }
  return [bar, el("div", {}, text)];
}

// The spans below one another, each where its time was within the request's.
function waterfall(request) {
  if (request.spans.length < 2) return null;
  const lines = request.spans.map((span) => {
    const look = span.depth ? LOOKS[span.name] || "part-0" : "part-3";
    const bar = svg("svg", { viewBox: `0 0 ${Math.max(request.duration_ms, 0.001)} 1`, preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.append(svg("rect", { x: span.at_ms, y: 0, width: Math.max(span.duration_ms, request.duration_ms / 300), height: 1, class: look }));
    return el(
      "li",
      { className: span.depth ? "within" : "" },
      el("span", {}, span.depth ? span.name : span.requests ? `${span.process} (batch of ${span.requests})` : span.process),
      bar,
      el("span", { className: "number" }, milliseconds(span.duration_ms)),
    );
  });
  return el("details", { className: "waterfall" }, el("summary", {}, "Spans"), el("ul", {}, lines));
}
