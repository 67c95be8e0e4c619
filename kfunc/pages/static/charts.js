// Line charts of the last two minutes, as SVG, with their last values as text beside them.

import { el, milliseconds, setText, short, svg } from "./dom.js";

const SPAN_S = 120;
const WIDTH = 240;
const HEIGHT = 80;

const perSecond = (value) => (value === null || value === undefined ? "–" : `${short(value)}/s`);

const CHARTS = [
  { title: "Inferences", lines: [["all", "rate"], ["failed", "failed"]], show: perSecond },
  { title: "Latency", lines: [["p50", "p50"], ["p99", "p99"]], show: milliseconds },
  { title: "Batch", lines: [["size", "batch"], ["waiting", "queued"]], show: short, of: "batcher" },
  { title: "Events", lines: [["delivered/s", "events"], ["waiting", "waiting"]], show: short, of: "logger" },
];

export class Charts {
  // `has` says which parts the function has: a chart of one that is missing is left out.
  constructor(parent, has) {
    this.points = [];
    this.charts = CHARTS.filter((chart) => !chart.of || has[chart.of]).map((chart) => new Chart(chart));
    parent.append(...this.charts.map((chart) => chart.element));
  }

  add(at, rates) {
    this.points.push({ at, ...rates });
    while (this.points[0].at < at - SPAN_S) this.points.shift();
    for (const chart of this.charts) chart.draw(this.points, at);
  }
}

class Chart {
  constructor({ title, lines, show }) {
    this.title = title;
    this.lines = lines;
    this.show = show;
    this.values = lines.map((_, at) => el("span", { className: `key-${at}` }));
    this.paths = lines.map((_, at) => svg("path", { class: `line-${at}` }));
    const base = svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 });
    this.svg = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, base, ...this.paths);
    this.top = el("span");
    const scale = el("div", { className: "scale" }, this.top, el("span", {}, "2 minutes"));
    this.element = el("figure", {}, el("figcaption", {}, el("b", {}, title), ...this.values), this.svg, scale);
    this.draw([], 0);
  }

  draw(points, now) {
    const all = points.flatMap((point) => this.lines.map(([, key]) => point[key])).filter((value) => value !== null);
    const most = Math.max(...all, 0) || 1;
    const last = points.at(-1) || {};
    for (const [at, [label, key]] of this.lines.entries()) {
      this.paths[at].setAttribute("d", path(points, key, now, most));
      setText(this.values[at], `${at ? "- -" : "—"} ${label} ${this.show(last[key])}`);
    }
    setText(this.top, points.length ? `top: ${this.show(most)}` : "");
    this.svg.setAttribute("aria-label", `${this.title}: ${this.values.map((value) => value.textContent.slice(2).trim()).join(", ")}`);
  }
}

// Where there is no value the line breaks; a value alone is a dash, since a dot is hardly seen.
function path(points, key, now, most) {
  let drawing = false;
  return points
    .map((point, at) => {
      if (point[key] === null) {
        drawing = false;
        return "";
      }
      const x = WIDTH * (1 - (now - point.at) / SPAN_S);
      const y = (HEIGHT - 3) * (1 - point[key] / most) + 1;
      const alone = (points[at + 1]?.[key] ?? null) === null;
      const step = `${drawing ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}${drawing ? "" : alone ? "h-4" : "h0.01"}`;
      drawing = true;
      return step;
    })
    .join("");
}
