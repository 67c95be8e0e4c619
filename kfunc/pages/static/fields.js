// The form's field for one input. A field has its element and `read()`, which gives
// {name, datatype, shape, values | elements, code}, or throws an Error for the reader.

import { el } from "./dom.js";
import * as image from "./image.js";
import { imageOf, kindOf, product, readNumber, rowShape, sampleValue } from "./signature.js";

const MAKERS = { numbers: numbersField, bytes: bytesField, picture: pictureField, image: imageField, json: jsonField };

// `pictures`: elements of BYTES are files of pictures.
export function makeField(spec, number, pictures) {
  const kind = kindOf(spec);
  return MAKERS[kind === "bytes" && pictures ? "picture" : kind](spec, `input-${number}`);
}

function frame(spec, ...children) {
  const kind = el("small", {}, `${spec.datatype} [${spec.shape.join(", ")}]`);
  return el("fieldset", {}, el("legend", {}, spec.name, " ", kind), ...children);
}

function numbersField(spec, id) {
  const shape = rowShape(spec.shape);
  const count = product(shape);
  const grows = spec.shape.length > 0 && spec.shape[0] < 0;
  const rows = el("div");
  const more = el("button", { type: "button", hidden: !grows }, "Add a row");
  const add = () => {
    const at = rows.children.length + 1;
    const cells = Array.from({ length: count }, (_, index) => cell(spec, `${id}-${at}-${index}`, at, index, count));
    const row = el("div", { className: "row", role: "group", ariaLabel: `${spec.name}, row ${at}` }, cells);
    if (at > 1) row.append(removeButton(row, more, at));
    rows.append(row);
    return row;
  };
  more.addEventListener("click", () => add().querySelector("input, select").focus());
  add();
  const read = () => {
    const values = [...rows.querySelectorAll("input, select")].map((input) => checked(input, spec));
    const first = grows ? [values.length / product(shape.slice(1))] : [];
    return { ...head(spec), shape: grows ? [...first, ...shape.slice(1)] : shape, values };
  };
  return { element: frame(spec, rows, more), read };
}

function removeButton(row, more, at) {
  const button = el("button", { type: "button", className: "remove", ariaLabel: `Remove row ${at}` }, "Remove");
  button.addEventListener("click", () => {
    row.remove();
    more.focus();
  });
  return button;
}

function cell(spec, id, row, index, count) {
  const name = count === 1 ? "value" : `[${index}]`;
  const value = sampleValue(spec.datatype, index);
  const control =
    spec.datatype === "BOOL"
      ? el("select", { id }, el("option", { selected: value === "true" }, "true"), el("option", { selected: value === "false" }, "false"))
      : el("input", { id, type: "text", inputMode: "decimal", autocomplete: "off", value });
  control.setAttribute("aria-label", `${spec.name} ${name}, row ${row}`);
  return el("label", { htmlFor: id }, name, control);
}

function checked(input, spec) {
  const { text, problem } = readNumber(input.value, spec.datatype);
  input.setAttribute("aria-invalid", String(Boolean(problem)));
  if (problem) {
    input.focus();
    const given = input.value.trim() ? `not “${input.value}”` : "the field is empty";
    throw new Error(`${input.getAttribute("aria-label")}: ${problem}, ${given}`);
  }
  return text;
}

function bytesField(spec, id) {
  const shape = rowShape(spec.shape);
  const text = el("textarea", { id, rows: 3, value: "text" });
  const file = el("input", { id: `${id}-file`, type: "file" });
  const picture = el("img", { className: "preview", hidden: true, alt: "" });
  const lines = product(shape) > 1 || spec.shape.some((size) => size < 0);
  const hint = lines ? "Each line is an element." : "";
  file.addEventListener("change", () => showFile(file.files[0], picture, text));
  const read = async () => {
    if (file.files[0]) {
      const bytes = new Uint8Array(await file.files[0].arrayBuffer());
      return { ...head(spec), shape, elements: [bytes], code: { file: file.files[0].name } };
    }
    const elements = product(shape) === 1 && !lines ? [text.value] : text.value.split("\n");
    return { ...head(spec), shape: fit(spec, elements.length), texts: elements };
  };
  const element = frame(
    spec,
    el("label", { htmlFor: id }, "Text ", el("span", { className: "hint" }, hint)),
    text,
    el("label", { htmlFor: `${id}-file`, className: "block" }, "or the bytes of a file"),
    file,
    picture,
  );
  return { element, read };
}

function pictureField(spec, id) {
  const file = el("input", { id, type: "file", accept: "image/*" });
  const picture = el("img", { className: "preview", hidden: true, alt: "" });
  const hint = el("p", { className: "hint", role: "status" }, "No picture chosen: coloured stripes are sent.");
  file.addEventListener("change", () => {
    showFile(file.files[0], picture);
    hint.hidden = Boolean(file.files[0]);
  });
  const read = async () => {
    const sent = file.files[0] || (await image.sample());
    const bytes = new Uint8Array(await sent.arrayBuffer());
    return { ...head(spec), shape: rowShape(spec.shape), elements: [bytes], code: { file: sent.name || "picture.png" } };
  };
  return { element: frame(spec, el("label", { htmlFor: id }, "Picture"), file, hint, picture), read };
}

function showFile(chosen, picture, text) {
  URL.revokeObjectURL(picture.src);
  picture.hidden = !chosen || !chosen.type.startsWith("image/");
  if (text) text.disabled = Boolean(chosen);
  if (!picture.hidden) {
    picture.src = URL.createObjectURL(chosen);
    picture.alt = `Preview of ${chosen.name}`;
  }
}

function imageField(spec, id) {
  const wanted = imageOf(spec);
  const batched = spec.shape.length === 4;
  const file = el("input", { id, type: "file", accept: "image/*" });
  const scales = Object.entries(image.SCALES).filter(([name]) => wanted.channels === 3 || name !== "imagenet");
  const scale = el("select", { id: `${id}-scale` }, scales.map(([value, [label]]) => el("option", { value }, label)));
  if (spec.datatype === "UINT8") scale.value = "byte";
  const canvas = el("canvas", { width: 96, height: 96, hidden: true, role: "img" });
  const size = el("p", { className: "hint", role: "status" }, "No picture chosen: zeros are sent.");
  const problem = el("p", { className: "problem", role: "alert" });
  let drawn = null;
  let drawing = null; // of the picture chosen last
  const take = async (chosen) => {
    const bitmap = chosen ? await image.open(chosen).catch((error) => error) : null;
    if (chosen !== file.files[0]) return; // another one has been chosen meanwhile
    const failed = bitmap instanceof Error;
    problem.textContent = failed ? bitmap.message : "";
    drawn = bitmap && !failed ? image.draw(bitmap, canvas, wanted) : null;
    canvas.hidden = drawn === null;
    canvas.setAttribute("aria-label", drawn ? `Preview of ${file.files[0].name}, as the model gets it` : "");
    const none = chosen ? "Nothing is sent until another picture is chosen." : "No picture chosen: zeros are sent.";
    size.textContent = drawn ? `${drawn.width} × ${drawn.height} pixels are sent.` : none;
  };
  file.addEventListener("change", () => (drawing = take(file.files[0])));
  const read = async () => {
    await drawing;
    if (file.files[0] && !drawn) throw new Error(`${spec.name}: ${problem.textContent}`);
    const { height, width } = drawn || { height: Math.max(wanted.height, 1), width: Math.max(wanted.width, 1) };
    const sizes = wanted.channelsFirst ? [wanted.channels, height, width] : [height, width, wanted.channels];
    const made = drawn ? image.numbersOf(canvas, wanted, scale.value) : new Array(product(sizes)).fill(0);
    const values = spec.datatype === "UINT8" ? made.map((value) => Math.max(0, Math.min(255, Math.round(value)))) : made;
    const code = drawn ? { ...wanted, picture: file.files[0].name, scale: scale.value, height, width } : { zeros: true };
    return { ...head(spec), shape: batched ? [1, ...sizes] : sizes, values, code };
  };
  const controls = [
    el("label", { htmlFor: id }, "Picture"),
    file,
    el("label", { htmlFor: `${id}-scale` }, "Its pixels become"),
    scale,
    size,
    problem,
  ];
  return { element: frame(spec, el("div", { className: "image" }, el("div", {}, controls), canvas)), read };
}

function jsonField(spec, id) {
  const shape = rowShape(spec.shape);
  const count = Math.min(product(shape), 100000);
  const values = Array.from({ length: count }, (_, index) => sampleValue(spec.datatype, index));
  const text = el("textarea", { id, rows: 4, spellcheck: false, value: `[${values.join(", ")}]` });
  const sizes = el("input", { id: `${id}-shape`, type: "text", value: shape.join(", ") });
  const read = () => {
    const found = text.value.replace(/[[\]\s]+/g, " ").split(/[ ,]+/).filter(Boolean);
    const numbers = found.map((each) => {
      const { text: number, problem } = readNumber(each, spec.datatype);
      if (problem) throw new Error(`${spec.name}: ${problem}, not “${each.slice(0, 40)}”`);
      return number;
    });
    const given = sizes.value.split(/[ ,]+/).filter(Boolean).map(Number);
    if (product(given) !== numbers.length) {
      throw new Error(`${spec.name}: the shape [${given.join(", ")}] has ${product(given)} elements, ${numbers.length} are given`);
    }
    return { ...head(spec), shape: given, values: numbers };
  };
  const element = frame(spec, el("label", { htmlFor: id }, "Numbers"), text, el("label", { htmlFor: `${id}-shape` }, "Shape"), sizes);
  return { element, read };
}

const head = ({ name, datatype }) => ({ name, datatype });

// The shape for that many elements: dimensions of any size take them.
function fit(spec, count) {
  const open = spec.shape.findIndex((size) => size < 0);
  const shape = rowShape(spec.shape);
  if (open >= 0) shape[open] = count / product(shape);
  if (product(shape) !== count || shape.some((size) => !Number.isInteger(size))) {
    throw new Error(`${spec.name}: ${count} elements do not fill the shape [${spec.shape.join(", ")}]`);
  }
  return shape;
}
