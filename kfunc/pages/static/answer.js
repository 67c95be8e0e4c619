// An answer, read and shown: outputs as tables, the rest as text.

import { decode } from "./binary.js";
import { el, milliseconds } from "./dom.js";
import { product } from "./signature.js";

const MOST_ROWS = 50;
const MOST_COLUMNS = 32;
const LONGEST = 20000;

// `{status, ok, document, text, ms, timing, id}`; throws where nothing answered.
export async function ask(request) {
  const began = performance.now();
  const response = await fetch(request.path, { method: "POST", headers: request.headers, body: request.body });
  const bytes = new Uint8Array(await response.arrayBuffer());
  const ms = performance.now() - began;
  const { headers, status, statusText, ok } = response;
  const json = Number(headers.get("inference-header-content-length") || bytes.length);
  const text = new TextDecoder().decode(bytes.subarray(0, json));
  const answer = { status, statusText, ok, text, ms, timing: headers.get("server-timing") || "", id: headers.get("x-request-id") || "" };
  return { ...answer, document: readDocument(text, bytes.subarray(json)) };
}

function readDocument(text, rest) {
  let document;
  try {
    document = JSON.parse(text, exactly);
  } catch {
    return null;
  }
  let at = 0;
  for (const output of Array.isArray(document?.outputs) ? document.outputs : []) {
    const size = output.parameters?.binary_data_size;
    if (Number.isInteger(size)) {
      output.data = decode(output.datatype, rest.subarray(at, at + size));
      at += size;
    }
  }
  return document;
}

// Whole numbers that a float cannot hold keep their digits, where the browser tells them.
function exactly(_, value, context) {
  const source = context?.source;
  return typeof value === "number" && source && /^-?\d+$/.test(source) && !Number.isSafeInteger(value) ? source : value;
}

// queue;dur=0.01, compute;dur=0.12 → [["queue", 0.01], ["compute", 0.12]] (Server-Timing)
export function readTiming(text) {
  return [...text.matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, ms]) => [name, Number(ms)]);
}

export function describe({ status, statusText, ok, ms, timing, id }) {
  const parts = readTiming(timing).map(([name, each]) => `${name} ${milliseconds(each)}`);
  const server = parts.length ? ` (in the function: ${parts.join(", ")})` : "";
  return [
    el("strong", { className: ok ? "" : "bad" }, `${status} ${statusText}`.trim()),
    ` in ${milliseconds(ms)}${server}${id ? ` · request ${id}` : ""}`,
  ];
}

export function show({ document, text }) {
  if (Array.isArray(document?.outputs)) {
    const tables = document.outputs.map(table);
    return [...tables, el("details", {}, el("summary", {}, "The answer as it came"), el("pre", {}, cut(text)))];
  }
  const error = typeof document?.error === "string" ? document.error : null;
  return [error === null ? el("pre", {}, cut(text)) : el("p", { className: "problem", role: "alert" }, error)];
}

function table(output) {
  const shape = Array.isArray(output.shape) ? output.shape : [];
  const values = [output.data ?? []].flat(Infinity);
  const columns = shape.length > 1 ? product(shape.slice(1)) : 1;
  const rows = [];
  for (let at = 0; columns > 0 && at < values.length && rows.length < MOST_ROWS; at += columns) {
    rows.push(values.slice(at, at + Math.min(columns, MOST_COLUMNS)));
  }
  const hidden = values.length - rows.reduce((all, row) => all + row.length, 0);
  const caption = el("caption", {}, `${output.name} `, el("small", {}, `${output.datatype} [${shape.join(", ")}]`));
  const body = rows.map((row, at) =>
    el("tr", {}, el("th", { scope: "row" }, String(at)), row.map((value) => el("td", { className: isNumber(value) ? "number" : "" }, cell(value)))),
  );
  const note = hidden > 0 ? el("p", { className: "note" }, `${hidden} more values are in the answer as it came.`) : null;
  const name = `Output ${output.name}`;
  const scroll = el("div", { className: "scroll", role: "region", ariaLabel: name, tabIndex: 0 }, el("table", {}, caption, el("tbody", {}, body)));
  return el("div", {}, scroll, note);
}

const isNumber = (value) => typeof value === "number";

function cell(value) {
  if (isNumber(value) && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  return typeof value === "string" ? cut(value, 500) : JSON.stringify(value);
}

function cut(text, most = LONGEST) {
  return text.length > most ? `${text.slice(0, most)} … ${text.length - most} more characters` : text;
}
