/** The tiles in their groups, and the cursor that the arrow keys move. */

import { element, make } from "../dialogs.js";
import { shortArea } from "./tile.js";

/** @typedef {import("./tile.js").Tile} Tile */

export class Grid {
  /** @param {(tile: Tile) => void} onPick */
  constructor(onPick) {
    this.list = element("#tiles");
    this.onPick = onPick;
    /** @type {Tile[]} */
    this.tiles = [];
    this.at = 0;
    this.list.addEventListener("click", (event) => {
      const hit = event.target instanceof Element ? event.target.closest(".tile") : null;
      const index = this.tiles.findIndex((tile) => tile.element === hit);
      if (index < 0) return;
      this.go(index);
      const tile = this.tiles[index];
      if (tile) this.onPick(tile);
    });
  }

  /** @param {Tile[]} tiles @param {boolean} byScore whether groups are of score, not of area */
  show(tiles, byScore) {
    this.tiles = tiles;
    /** @type {Map<string, Tile[]>} */
    const groups = new Map();
    for (const tile of tiles) {
      const name = bandName(tile.item.band, byScore);
      groups.set(name, [...(groups.get(name) ?? []), tile]);
    }
    this.list.replaceChildren(
      ...[...groups].map(([name, members]) =>
        make(
          "div",
          { role: "group", "aria-label": name, class: "band" },
          make("div", { class: "band-name", role: "presentation" }, make("b", {}, name), String(members.length)),
          ...members.map((tile) => tile.element),
        ),
      ),
    );
    this.list.scrollTop = 0;
    this.go(0);
  }

  /** @returns {Tile | undefined} */
  get current() {
    return this.tiles[this.at];
  }

  /** Move the cursor by an arrow key. @param {string} key in lower case @returns {boolean} whether it is such a key */
  move(key) {
    const last = this.tiles.length - 1;
    if (key === "arrowright") this.go(Math.min(this.at + 1, last));
    else if (key === "arrowleft") this.go(Math.max(this.at - 1, 0));
    else if (key === "arrowdown") this.go(this.below(1));
    else if (key === "arrowup") this.go(this.below(-1));
    else if (key === "home") this.go(0);
    else if (key === "end") this.go(last);
    else return false;
    return true;
  }

  /** @param {number} index */
  go(index) {
    this.current?.element.classList.remove("current");
    this.at = Math.max(0, index);
    const tile = this.current;
    if (!tile) return this.list.removeAttribute("aria-activedescendant");
    tile.element.classList.add("current");
    tile.element.scrollIntoView({ block: "nearest" });
    this.list.setAttribute("aria-activedescendant", tile.element.id);
  }

  /** The nearest tile in the row below, or above; the same at the edge. @param {1 | -1} step */
  below(step) {
    const here = this.current?.element.getBoundingClientRect();
    if (!here) return this.at;
    const boxes = this.tiles.map((tile) => tile.element.getBoundingClientRect());
    const isBeyond = (/** @type {DOMRect} */ box) => (box.top - here.top) * step > here.height / 2;
    const rows = boxes.filter(isBeyond).map((box) => box.top);
    if (!rows.length) return this.at;
    const row = step > 0 ? Math.min(...rows) : Math.max(...rows);
    const candidates = boxes.flatMap((box, index) => (Math.abs(box.top - row) < 2 ? [{ index, box }] : []));
    const nearest = candidates.sort((a, b) => Math.abs(a.box.left - here.left) - Math.abs(b.box.left - here.left))[0];
    return nearest?.index ?? this.at;
  }
}

/** @param {[number, number]} band @param {boolean} byScore */
function bandName([low, high], byScore) {
  return byScore
    ? `score ${low.toFixed(1)} to ${high.toFixed(1)}`
    : `${shortArea(low)} to ${shortArea(high)}`;
}
