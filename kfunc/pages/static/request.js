// Inputs → a V2 request: JSON, or JSON with binary tensors behind it where JSON has no word for them or is too long. Pure.

import { encodeBytes, encodeNumbers, onlyBinary } from "./binary.js";

const LARGE = 20000; // elements: from here on tensors go in binary

// `outputs` are those that the model says it has.
export function compose(path, inputs, outputs) {
  const chunks = [];
  const tensors = inputs.map((input) => {
    const head = `"name":${JSON.stringify(input.name)},"shape":${JSON.stringify(input.shape)},"datatype":"${input.datatype}"`;
    const bytes = binaryOf(input);
    if (bytes === null) return `{${head},"data":${dataText(input)}}`;
    chunks.push(bytes);
    return `{${head},"parameters":{"binary_data_size":${bytes.length}}}`;
  });
  const asked = outputs.some((each) => onlyBinary(each.datatype)) ? `,"outputs":[${outputs.map(askFor).join(",")}]` : "";
  const text = `{"inputs":[${tensors.join(",")}]${asked}}`;
  if (!chunks.length) return { path, text, body: text, headers: { "content-type": "application/json" }, inputs };
  const json = new TextEncoder().encode(text);
  const headers = { "content-type": "application/octet-stream", "inference-header-content-length": String(json.length) };
  return { path, text, body: new Blob([json, ...chunks]), headers, inputs };
}

// What the reader wrote, as it is. Throws where it is no JSON.
export function fromText(path, text) {
  JSON.parse(text);
  return { path, text, body: text, headers: { "content-type": "application/json" }, inputs: null };
}

function askFor({ name, datatype }) {
  return JSON.stringify(onlyBinary(datatype) ? { name, parameters: { binary_data: true } } : { name });
}

function binaryOf(input) {
  if (input.elements) return encodeBytes(input.elements);
  if (input.texts) return null;
  const large = input.values.length > LARGE;
  return large || onlyBinary(input.datatype) ? encodeNumbers(input.datatype, input.values) : null;
}

function dataText(input) {
  return input.texts ? JSON.stringify(input.texts) : `[${input.values.join(",")}]`;
}
