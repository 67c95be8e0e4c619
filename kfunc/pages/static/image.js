// A picture as the numbers of a tensor: drawn into a canvas of the model's size, then scaled as asked.

export const SCALES = {
  unit: ["0 to 1", (value) => value / 255],
  byte: ["0 to 255", (value) => value],
  signed: ["−1 to 1", (value) => value / 127.5 - 1],
  imagenet: ["ImageNet’s mean and deviation", (value, channel) => (value / 255 - MEAN[channel]) / DEVIATION[channel]],
};
const MEAN = [0.485, 0.456, 0.406];
const DEVIATION = [0.229, 0.224, 0.225];
const LARGEST = 1024; // of a side that the model leaves open

// A picture for who has chosen none, as a file's content.
export function sample(side = 224) {
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d");
  ["#36c", "#396", "#c93", "#c33"].forEach((colour, at) => {
    context.fillStyle = colour;
    context.fillRect((at * side) / 4, 0, side / 4, side);
  });
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

export async function open(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} is no picture that this browser reads`);
  }
}

// Draws the picture at the model's size, and returns that size.
export function draw(bitmap, canvas, wanted) {
  const shrink = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const height = wanted.height > 0 ? wanted.height : Math.max(1, Math.round(bitmap.height * shrink));
  const width = wanted.width > 0 ? wanted.width : Math.max(1, Math.round(bitmap.width * shrink));
  Object.assign(canvas, { width, height });
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0, width, height);
  return { height, width };
}

export function numbersOf(canvas, wanted, scale) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const { channels, channelsFirst } = wanted;
  const place = SCALES[scale][1];
  const pixels = width * height;
  const values = new Array(pixels * channels);
  for (let pixel = 0; pixel < pixels; pixel += 1) {
    const at = pixel * 4;
    for (let channel = 0; channel < channels; channel += 1) {
      const raw = channels === 1 ? 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2] : data[at + channel];
      const value = place(raw, channel);
      values[channelsFirst ? channel * pixels + pixel : pixel * channels + channel] = value;
    }
  }
  return values;
}
