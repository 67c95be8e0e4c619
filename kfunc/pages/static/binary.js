// Tensors in binary, little-endian (Open Inference Protocol, binary tensor data extension).

const bits = new DataView(new ArrayBuffer(4));

function toBfloat(value) {
  bits.setFloat32(0, value);
  const whole = bits.getUint32(0);
  if (Number.isNaN(value)) return (whole >>> 16) | 0x40;
  return ((whole + 0x7fff + ((whole >>> 16) & 1)) >>> 16) & 0xffff; // to the nearest, ties to even
}

function fromBfloat(half) {
  bits.setUint32(0, half << 16);
  return bits.getFloat32(0);
}

function toHalf(value) {
  bits.setFloat32(0, value);
  const whole = bits.getUint32(0);
  const sign = (whole >>> 16) & 0x8000;
  const size = whole & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00;
  if (size >= 0x477ff000) return sign | 0x7c00; // too large: infinity
  if (size < 0x38800000) return sign | Math.round(Math.abs(value) / 2 ** -24); // subnormal
  return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
}

function fromHalf(half) {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// datatype -> [bytes, write, read]
const NUMBERS = {
  BOOL: [1, (v, at, x) => v.setUint8(at, x === "true" || x === 1 || x === true ? 1 : 0), (v, at) => v.getUint8(at) !== 0],
  UINT8: [1, (v, at, x) => v.setUint8(at, Number(x)), (v, at) => v.getUint8(at)],
  INT8: [1, (v, at, x) => v.setInt8(at, Number(x)), (v, at) => v.getInt8(at)],
  UINT16: [2, (v, at, x) => v.setUint16(at, Number(x), true), (v, at) => v.getUint16(at, true)],
  INT16: [2, (v, at, x) => v.setInt16(at, Number(x), true), (v, at) => v.getInt16(at, true)],
  UINT32: [4, (v, at, x) => v.setUint32(at, Number(x), true), (v, at) => v.getUint32(at, true)],
  INT32: [4, (v, at, x) => v.setInt32(at, Number(x), true), (v, at) => v.getInt32(at, true)],
  UINT64: [8, (v, at, x) => v.setBigUint64(at, BigInt(x), true), (v, at) => String(v.getBigUint64(at, true))],
  INT64: [8, (v, at, x) => v.setBigInt64(at, BigInt(x), true), (v, at) => String(v.getBigInt64(at, true))],
  FP16: [2, (v, at, x) => v.setUint16(at, toHalf(Number(x)), true), (v, at) => fromHalf(v.getUint16(at, true))],
  BF16: [2, (v, at, x) => v.setUint16(at, toBfloat(Number(x)), true), (v, at) => fromBfloat(v.getUint16(at, true))],
  FP32: [4, (v, at, x) => v.setFloat32(at, Number(x), true), (v, at) => v.getFloat32(at, true)],
  FP64: [8, (v, at, x) => v.setFloat64(at, Number(x), true), (v, at) => v.getFloat64(at, true)],
};

export const onlyBinary = (datatype) => datatype === "FP16" || datatype === "BF16";

export function encodeNumbers(datatype, values) {
  const [size, write] = NUMBERS[datatype];
  const view = new DataView(new ArrayBuffer(values.length * size));
  for (let at = 0; at < values.length; at += 1) write(view, at * size, values[at]);
  return new Uint8Array(view.buffer);
}

// Each element with its length in front.
export function encodeBytes(elements) {
  const parts = new Uint8Array(elements.reduce((all, each) => all + 4 + each.length, 0));
  const view = new DataView(parts.buffer);
  let at = 0;
  for (const each of elements) {
    view.setUint32(at, each.length, true);
    parts.set(each, at + 4);
    at += 4 + each.length;
  }
  return parts;
}

export function decode(datatype, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = [];
  if (datatype === "BYTES") {
    for (let at = 0; at + 4 <= bytes.length; ) {
      const length = view.getUint32(at, true);
      values.push(new TextDecoder().decode(bytes.subarray(at + 4, at + 4 + length)));
      at += 4 + length;
    }
    return values;
  }
  const [size, , read] = NUMBERS[datatype];
  for (let at = 0; at + size <= bytes.length; at += size) values.push(read(view, at));
  return values;
}
