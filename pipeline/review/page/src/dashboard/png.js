/** A chart as a PNG file, drawn by the browser: title, caption, note and drawing on white. */

import { drawing, label, svg, wrap } from "./svg.js";

const SCALE = 2;
const MARGIN = 16;
/** Labels may have characters that XML cannot hold: the browser would not open the picture. */
const NOT_IN_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;
const KEEP_MS = 10_000;

/** @typedef {[title: string, caption: string, note: string]} Texts */

/** @param {SVGSVGElement} chart @param {Texts} texts @param {string} name of the file */
export async function savePng(chart, texts, name) {
  const blob = await pngOf(withTitle(chart, texts));
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), KEEP_MS);
}

/** @param {SVGSVGElement} chart @param {Texts} texts */
function withTitle(chart, [title, caption, note]) {
  const inner = chart.width.baseVal.value;
  const width = inner + 2 * MARGIN;
  const texts = [
    ...wrap(title, inner, 16, 600).map((each) => ({ each, size: 16, weight: 600, step: 22, colour: "#1d2733" })),
    ...wrap(caption, inner, 12, 600).map((each) => ({ each, size: 12, weight: 600, step: 17, colour: "#1d2733" })),
    ...wrap(note, inner, 12).map((each) => ({ each, size: 12, weight: 400, step: 17, colour: "#55606e" })),
  ];
  let y = MARGIN;
  const lines = texts.map(({ each, size, weight, step, colour }) => label(each, MARGIN, (y += step) - 5, { size, weight, colour }));
  const copy = /** @type {SVGElement} */ (chart.cloneNode(true));
  copy.setAttribute("x", String(MARGIN));
  copy.setAttribute("y", String(y + 10));
  const height = y + 10 + chart.height.baseVal.value + MARGIN;
  return drawing(width, height, [svg("rect", { width, height, fill: "#ffffff" }), ...lines, copy]);
}

/** @param {SVGElement} picture @returns {Promise<Blob>} */
async function pngOf(picture) {
  const text = new XMLSerializer().serializeToString(picture).replace(NOT_IN_XML, "\ufffd");
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = Number(picture.getAttribute("width")) * SCALE;
    canvas.height = Number(picture.getAttribute("height")) * SCALE;
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the browser made no picture"))), "image/png"),
    );
  } finally {
    URL.revokeObjectURL(address);
  }
}
