// The table of the last requests.

import { el, milliseconds, svg } from "./dom.js";

const PARTS = [["batch", "batch_ms", "part-0"], ["queue", "queue_ms", "part-1"], ["model", "compute_ms", "part-2"]];

export function rows(requests) {
  if (!requests.length) return [el("tr", {}, el("td", { colSpan: 7 }, "none yet"))];
  return requests.map((request) =>
    el(
      "tr",
      {},
      el("td", {}, new Date(request.at_s * 1000).toLocaleTimeString()),
      el("td", { className: request.status >= 400 ? "bad" : "" }, String(request.status)),
      el("td", { className: "number" }, milliseconds(request.duration_ms)),
      el("td", {}, parts(request)),
      el("td", { className: "mono" }, request.path),
      el("td", { className: "mono" }, request.request_id),
      el("td", { className: "mono" }, request.trace_id || "–"),
    ),
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
