// The page: asks the function what it is, makes the form, sends requests, shows figures.

import { ask, describe, show } from "./answer.js";
import { Charts } from "./charts.js";
import { byId, el, milliseconds, setText } from "./dom.js";
import { makeField } from "./fields.js";
import { pointOf } from "./figures.js";
import { showRequests } from "./recent.js";
import { compose, fromText } from "./request.js";
import { curl, pythonCode } from "./snippets.js";

const EACH_MS = 1000;
const READY_MS = 3000;
const { v2, batcher, logger, model: configured } = document.body.dataset;
const state = { model: configured, version: "", metadata: null, fields: [], moment: "", choices: 0 };

async function getJson(path) {
  const response = await fetch(path, { cache: "no-store" });
  const document = await response.json();
  if (!response.ok) throw new Error(document.error || `${response.status} ${response.statusText}`);
  return document;
}

const pathOf = (model, version) => `/v2/models/${encodeURIComponent(model)}${version ? `/versions/${encodeURIComponent(version)}` : ""}`;
const modelPath = () => pathOf(state.model, state.version);

// ---- what the function is

async function askReady() {
  const badge = byId("ready");
  let ready = false;
  try {
    ready = (await fetch("/v2/health/ready", { cache: "no-store" })).ok;
    setText(badge, ready ? "ready" : "not ready");
  } catch {
    setText(badge, "no answer");
  }
  badge.className = `badge ${ready ? "good" : "bad"}`;
  if (ready && v2 === "True" && !state.metadata) await learn();
}

async function learn() {
  try {
    const { models } = await getJson("/v2/models");
    fill(byId("model"), models.map((name) => [name, name]), models.includes(state.model) ? state.model : models[0]);
    await choose(byId("model").value, "");
  } catch (error) {
    setText(byId("problem"), `The model does not say what it takes: ${error.message}`);
  }
}

// Of two quick choices the last one counts; one that fails leaves the form, and the choice, as they were.
async function choose(model, version) {
  const number = (state.choices += 1);
  let metadata;
  try {
    metadata = await getJson(pathOf(model, version));
  } catch (error) {
    if (number === state.choices) [byId("model").value, byId("version").value] = [state.model, state.version];
    throw error;
  }
  if (number !== state.choices) return;
  Object.assign(state, { model, version, metadata });
  if (!version) fill(byId("version"), [["", "newest"], ...(metadata.versions || []).map((each) => [each, each])], "");
  setText(byId("platform"), metadata.platform || "–");
  setText(byId("problem"), "");
  makeForm(metadata);
  if (mode() === "json") await changeMode();
}

function fill(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
}

// ---- the form

function makeForm(metadata) {
  const inputs = (metadata.inputs || []).filter((each) => Array.isArray(each.shape));
  const pictures = metadata.parameters?.media_type === "image/*";
  state.fields = inputs.map((each, at) => makeField(each, at, pictures));
  const examples = el("p", { className: "note" }, "The values below are examples, and are sent unless you change them.");
  const none = el("p", { className: "note" }, "The model does not say what its inputs are: write the request as JSON.");
  byId("fields").replaceChildren(...(inputs.length ? [examples, ...state.fields.map(({ element }) => element)] : [none]));
  byId("body").value = "";
}

const mode = () => new FormData(byId("form")).get("mode");

async function composed() {
  const inputs = [];
  for (const field of state.fields) inputs.push(await field.read());
  return compose(`${modelPath()}/infer`, inputs, state.metadata?.outputs || []);
}

async function changeMode() {
  const json = mode() === "json";
  byId("raw").hidden = !json;
  byId("fields").hidden = json;
  if (!json || byId("body").value) return;
  try {
    byId("body").value = JSON.stringify(JSON.parse((await composed()).text), null, 1);
  } catch {
    byId("body").value = '{"inputs": []}';
  }
}

async function submit(event) {
  event.preventDefault();
  const button = byId("send");
  if (button.getAttribute("aria-disabled") === "true") return;
  const problem = byId("problem");
  setText(problem, "");
  let request;
  try {
    request = mode() === "json" ? fromText(`${modelPath()}/infer`, byId("body").value) : await composed();
  } catch (error) {
    setText(problem, error.message);
    return;
  }
  button.setAttribute("aria-disabled", "true"); // not disabled: that would take the focus away
  try {
    const answer = await ask(request);
    byId("timing").replaceChildren(...describe(answer));
    byId("answer").replaceChildren(...show(answer));
    showCode(request);
  } catch (error) {
    setText(problem, `The function did not answer: ${error.message}`);
  } finally {
    button.setAttribute("aria-disabled", "false");
  }
}

function showCode(request) {
  const command = curl(location.origin, request);
  const python = pythonCode(location.origin, request, state.model, state.version);
  byId("snippets").replaceChildren(...snippet("curl", command.text, saveLink(request, command.file)), ...snippet("Python", python));
}

function saveLink(request, file) {
  if (!file) return null;
  if (state.saved) URL.revokeObjectURL(state.saved);
  state.saved = URL.createObjectURL(new Blob([request.body]));
  return el("a", { href: state.saved, download: file }, `Save ${file}`);
}

function snippet(title, text, more = null) {
  const copy = el("button", { type: "button", ariaLabel: `Copy the ${title} code` }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Select it, and copy";
    }
  });
  const code = el("pre", { tabIndex: 0, role: "region", ariaLabel: `${title} code` }, text);
  return [el("div", { className: "snippet" }, el("h3", {}, title), more, copy), code];
}

// ---- figures

const charts = new Charts(byId("charts"), { batcher: batcher === "True", logger: logger === "True" });

async function showFigures() {
  const now = performance.now() / 1000;
  const shown = await getJson(`/page/figures.json?since=${state.moment}`);
  if (shown.figures) charts.add(now, pointOf(shown.figures));
  state.moment = shown.moment;
  setText(byId("device"), shown.device || "–");
  setText(byId("start"), shown.cold_start_s ? `${milliseconds(shown.cold_start_s * 1000)} (model: ${milliseconds(shown.load_s * 1000)})` : "–");
  showRequests(byId("recent"), await getJson("/page/recent.json"));
}

// One after another, and not while nobody looks.
async function repeat(step, eachMs, failed) {
  for (;;) {
    if (!document.hidden) {
      try {
        await step();
        failed(false);
      } catch {
        failed(true);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, eachMs));
  }
}

if (v2 === "True") {
  byId("form").addEventListener("submit", submit);
  for (const radio of document.querySelectorAll("[name=mode]")) radio.addEventListener("change", changeMode);
  const again = (version) => choose(byId("model").value, version).catch((error) => setText(byId("problem"), `${byId("model").value} stays as it is: ${error.message}`));
  byId("model").addEventListener("change", () => again(""));
  byId("version").addEventListener("change", () => again(byId("version").value));
}
repeat(askReady, READY_MS, () => {});
repeat(showFigures, EACH_MS, (failed) => (byId("stale").hidden = !failed));
