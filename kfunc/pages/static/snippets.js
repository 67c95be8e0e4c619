// A request as a curl command and as Python. Pure: text in, text out, all of it quoted for its language.

import { SCALES } from "./image.js";

const LONGEST = 4000;
const DTYPES = {
  BOOL: "bool_", INT8: "int8", INT16: "int16", INT32: "int32", INT64: "int64", UINT8: "uint8", UINT16: "uint16",
  UINT32: "uint32", UINT64: "uint64", FP16: "float16", BF16: "float32", FP32: "float32", FP64: "float64",
};
const STEPS = {
  unit: "pixels = pixels / 255",
  byte: "",
  signed: "pixels = pixels / 127.5 - 1",
  imagenet: "pixels = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]",
};

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// JSON's strings are Python's, but for what stands outside the first plane unpaired.
const python = (text) => JSON.stringify(text);

// {text, file}: `file` is what has to be saved beside it first, if anything.
export function curl(origin, request) {
  const fields = Object.entries(request.headers).map(([name, value]) => `-H ${shell(`${name}: ${value}`)}`);
  const start = `curl -s ${shell(origin + request.path)} \\\n  ${fields.join(" \\\n  ")} \\\n  `;
  if (typeof request.body !== "string") return { text: `${start}--data-binary @request.bin`, file: "request.bin" };
  if (request.text.length > LONGEST) return { text: `${start}--data-binary @request.json`, file: "request.json" };
  return { text: `${start}-d ${shell(request.text)}`, file: "" };
}

export function pythonCode(origin, request, model, version) {
  if (!request.inputs) return plainPython(origin, request);
  const lines = ["import numpy as np", "from kfunc.client import Client", ""];
  const arrays = request.inputs.map((input, at) => `${python(input.name)}: ${arrayCode(input, at, lines)}`);
  const versioned = version ? `, version=${python(version)}` : "";
  lines.push(
    `with Client(${python(origin)}) as client:`,
    `    result = client.infer({${arrays.join(", ")}}, model=${python(model)}${versioned})`,
    "    for name in result:",
    "        print(name, result[name])",
  );
  return lines.join("\n");
}

function plainPython(origin, request) {
  return [
    "import json",
    "from urllib.request import Request, urlopen",
    "",
    `body = ${python(request.text)}`,
    `request = Request(${python(origin + request.path)}, body.encode(), {"content-type": "application/json"})`,
    "print(json.load(urlopen(request)))",
  ].join("\n");
}

function arrayCode(input, at, lines) {
  const shape = `(${input.shape.map((size) => `${size},`).join(" ")})`;
  if (input.code?.file) {
    lines.splice(0, 0, "from pathlib import Path");
    return `np.array([Path(${python(input.code.file)}).read_bytes()], object).reshape(${shape})`;
  }
  if (input.code?.picture) return pictureCode(input, at, lines);
  if (input.code?.zeros) return `np.zeros(${shape}, np.${DTYPES[input.datatype]})`;
  if (input.texts) return `np.array(${JSON.stringify(input.texts)}, object).reshape(${shape})`;
  if (input.values.length * 4 > LONGEST) {
    lines.push(`array_${at} = np.zeros(${shape}, np.${DTYPES[input.datatype]})  # your numbers`);
    return `array_${at}`;
  }
  const values = input.datatype === "BOOL" ? input.values.map((each) => (each === "true" ? "True" : "False")) : input.values;
  return `np.array([${values.join(", ")}], np.${DTYPES[input.datatype]}).reshape(${shape})`;
}

function pictureCode(input, at, lines) {
  const { picture, scale, height, width, channels, channelsFirst } = input.code;
  if (!(scale in SCALES)) throw new Error(`no such scale: ${scale}`);
  lines.splice(1, 0, "from PIL import Image  # pip install pillow");
  lines.push(
    `picture = Image.open(${python(picture)}).convert("${channels === 1 ? "L" : "RGB"}").resize((${width}, ${height}))`,
    "pixels = np.asarray(picture, np.float32)",
    ...(STEPS[scale] ? [STEPS[scale]] : []),
    ...(channels === 1 ? ["pixels = pixels[..., None]"] : []),
    ...(channelsFirst ? ["pixels = pixels.transpose(2, 0, 1)"] : []),
    `array_${at} = pixels.reshape((${input.shape.join(", ")},)).astype(np.${DTYPES[input.datatype]})`,
    "",
  );
  return `array_${at}`;
}
