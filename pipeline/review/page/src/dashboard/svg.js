/** SVG elements, text of known width, and ticks of an axis. */

const NAMESPACE = "http://www.w3.org/2000/svg";
export const FONT = "system-ui, sans-serif";
export const INK = "#1d2733";
export const QUIET = "#55606e";
export const GRID = "#d5dbe2";

/** @typedef {Record<string, string | number>} Attributes */

/**
 * @param {string} tag @param {Attributes} attributes @param {...(Node | string)} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes))
    made.setAttribute(name, typeof value === "number" ? String(Math.round(value * 100) / 100) : value);
  made.append(...children);
  return made;
}

/** A drawing of this size in pixels. @param {number} width @param {number} height @param {SVGElement[]} children */
export function drawing(width, height, children) {
  return svg("svg", { width, height, viewBox: `0 0 ${Math.round(width)} ${Math.round(height)}` }, ...children);
}

/**
 * @param {string} content @param {number} x @param {number} y of the baseline
 * @param {{size?: number, colour?: string, anchor?: string, weight?: number}} style
 */
export function label(content, x, y, { size = 13, colour = INK, anchor = "start", weight = 400 } = {}) {
  const attributes = { x, y, fill: colour, "font-family": FONT, "font-size": size, "font-weight": weight, "text-anchor": anchor };
  return svg("text", attributes, content);
}

/** The text, cut so that it fits. @param {string} content @param {number} width @param {number} size */
export function fitting(content, width, size = 13, weight = 400) {
  if (textWidth(content, size, weight) <= width) return content;
  let kept = [...content];
  while (kept.length > 1 && textWidth(`${kept.join("")}…`, size, weight) > width) kept = kept.slice(0, -1);
  return `${kept.join("")}…`;
}

/** @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 @param {Attributes} attributes */
export function line(x1, y1, x2, y2, attributes = {}) {
  return svg("line", { x1, y1, x2, y2, stroke: GRID, ...attributes });
}

const pen = document.createElement("canvas").getContext("2d");

/** The width of a text in pixels. @param {string} content @param {number} size */
export function textWidth(content, size = 13, weight = 400) {
  if (!pen) return content.length * size * 0.6;
  pen.font = `${weight} ${size}px ${FONT}`;
  return pen.measureText(content).width;
}

/** The text in lines of this width. @param {string} content @param {number} width @param {number} size */
export function wrap(content, width, size = 13, weight = 400) {
  /** @type {string[]} */
  const lines = [];
  for (const word of content.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && textWidth(longer, size, weight) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** Round numbers from 0 to at least the largest value. @param {number} largest @param {number} count about so many */
export function ticks(largest, count = 5) {
  if (!(largest > 0)) return [0, 1];
  const rough = largest / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? rough;
  return Array.from({ length: Math.ceil(largest / step - 1e-9) + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}
