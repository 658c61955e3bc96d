/** A chart on the page: its title, what it is made from, the drawing, the same as a table, and PNG. */

import { make } from "../dialogs.js";
import { messageOf, say } from "../status.js";
import { savePng } from "./png.js";

/**
 * @typedef {object} FigureSpec
 * @property {string} id
 * @property {string} title
 * @property {string} note what the figures are from, and what they do not say
 * @property {((width: number) => SVGElement) | null} draw null if there is nothing to draw
 * @property {string[]} head of the table
 * @property {string[][]} rows of the table
 * @property {string} summary of the chart, for those who cannot see it
 */

export class Figure {
  /** @param {FigureSpec} spec @param {string} caption of the picture that is saved */
  constructor(spec, caption) {
    this.spec = spec;
    this.caption = caption;
    this.chart = make("div", { class: "chart" });
    this.table = make("details", {}, make("summary", {}, "Table"), makeTable(spec));
    const button = make("button", { type: "button", class: "png", "aria-label": `Save as PNG: ${spec.title}` }, "Save as PNG");
    button.addEventListener("click", () => void this.save());
    const drawn = spec.draw ? [this.chart, make("div", { class: "tools" }, this.table, button)] : [];
    this.element = make(
      "section",
      { id: spec.id, class: "figure", "aria-labelledby": `${spec.id}-title` },
      make("h2", { id: `${spec.id}-title` }, spec.title),
      make("p", { class: "note" }, spec.note),
      ...drawn,
    );
  }

  /** Draw it for a width in pixels; by default that of its place. @param {number} [width] */
  draw(width = this.chart.clientWidth) {
    if (!this.spec.draw || width < 50) return;
    const drawn = this.spec.draw(Math.floor(width));
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", `${this.spec.title}. ${this.spec.summary}`);
    this.chart.replaceChildren(drawn);
  }

  async save() {
    const drawn = this.chart.querySelector("svg");
    if (!drawn) return;
    try {
      await savePng(drawn, [this.spec.title, this.caption, this.spec.note], `lotline-${this.spec.id}.png`);
    } catch (error) {
      say(`the picture could not be saved: ${messageOf(error)}`);
    }
  }
}

/** @param {FigureSpec} spec */
function makeTable({ head, rows, title }) {
  const header = make("tr", {}, ...head.map((each) => make("th", { scope: "col" }, each)));
  const body = rows.map(([name = "", ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", {}, cell))),
  );
  return make(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table: ${title}` },
    make("table", {}, make("thead", {}, header), make("tbody", {}, ...body)),
  );
}
