// What kind of field an input gets, from its datatype and shape. Pure.

const FLOATS = new Set(["FP16", "BF16", "FP32", "FP64"]);
const MOST_NUMBERS = 64; // in a row: more are a text of JSON
const LARGEST_IMAGE = 4096;

export const isFloat = (datatype) => FLOATS.has(datatype);

export const product = (sizes) => sizes.reduce((all, size) => all * size, 1);

// The sizes of one row: dimensions of any size are 1.
export const rowShape = (shape) => shape.map((size) => (size < 0 ? 1 : size));

export function kindOf(spec) {
  if (spec.datatype === "BYTES") return "bytes";
  if (imageOf(spec)) return "image";
  if (product(spec.shape.slice(1).map((size) => (size < 0 ? MOST_NUMBERS + 1 : size))) > MOST_NUMBERS) return "json";
  return product(rowShape(spec.shape)) <= MOST_NUMBERS ? "numbers" : "json";
}

// {channels, height, width, channelsFirst} where the shape is that of a picture, with or without a batch dimension.
export function imageOf(spec) {
  if (!(isFloat(spec.datatype) || spec.datatype === "UINT8")) return null;
  const sizes = spec.shape.length === 4 ? spec.shape.slice(1) : spec.shape.length === 3 ? spec.shape : null;
  if (!sizes || (spec.shape.length === 4 && spec.shape[0] > 1)) return null;
  const side = (size) => size < 0 || (size >= 8 && size <= LARGEST_IMAGE);
  const [first, second, third] = sizes;
  if ((first === 3 || first === 1) && side(second) && side(third)) {
    return { channels: first, height: second, width: third, channelsFirst: true };
  }
  if ((third === 3 || third === 1) && side(first) && side(second)) {
    return { channels: third, height: first, width: second, channelsFirst: false };
  }
  return null;
}

export function sampleValue(datatype, index) {
  if (datatype === "BOOL") return index % 2 ? "true" : "false";
  return isFloat(datatype) ? String(((index % 5) + 1) / 10) : String(index % 2);
}

// A number as its text in JSON, or a message.
export function readNumber(text, datatype) {
  const value = text.trim();
  if (datatype === "BOOL") {
    if (value === "true" || value === "false") return { text: value };
    return { problem: "true or false is expected" };
  }
  const form = isFloat(datatype) ? /^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/ : /^-?\d+$/;
  if (!form.test(value)) return { problem: isFloat(datatype) ? "a number is expected" : "a whole number is expected" };
  if (isFloat(datatype) && !Number.isFinite(Number(value))) return { problem: "a smaller number is expected" };
  // JSON has no leading zero, point or sign of its own kind; a whole number keeps all its digits.
  return { text: isFloat(datatype) ? String(Number(value)) : String(BigInt(value)) };
}
