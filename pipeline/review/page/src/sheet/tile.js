/** A detection on the sheet: what is known of it, what was decided, and how it is drawn. */

import { make } from "../dialogs.js";
import { labelColour } from "../palette.js";

/**
 * @typedef {object} SheetItem As `GET /v1/review/sheet` sends it.
 * @property {number} id
 * @property {number} property_key
 * @property {string} property_id
 * @property {string} label
 * @property {string} state
 * @property {number} score
 * @property {number} clipped_area_m2
 * @property {number} version
 * @property {string | null} reviewer
 * @property {string | null} leased_by another reviewer who has the property open
 * @property {string | null} captured_on
 * @property {[number, number]} band
 *
 * @typedef {object} Outcome What this sheet asked for.
 * @property {string} action
 * @property {string} key of the decision, in the outbox and the undo stack
 * @property {"waiting" | "saved" | "refused"} status
 * @property {string} message why it was refused
 * @property {boolean} isTakenBack an undo follows as soon as it is saved
 */

/** @type {Record<string, string>} */
const DONE = { accept: "accepted", reject: "rejected", restore: "restored" };

export class Tile {
  /** @param {SheetItem} item */
  constructor(item) {
    this.item = item;
    this.isOdd = false;
    this.isVisible = false;
    /** Whether its picture was on the screen: what was not seen is not decided. */
    this.isSeen = false;
    /** @type {"waiting" | "shown" | "failed"} */
    this.picture = "waiting";
    this.pictureFault = "";
    this.isOtherImagery = false;
    /** @type {Outcome | null} */
    this.outcome = null;
    this.image = /** @type {HTMLImageElement} */ (make("img", { alt: "", width: "256", height: "256" }));
    this.badge = make("span", { class: "badge" });
    this.note = make("span", { class: "note" });
    this.facts = make("span", { class: "facts" });
    this.more = make("span", { class: "unseen" }); // for screen readers
    this.element = make(
      "div",
      { role: "option", id: `tile-${item.id}`, class: "tile" },
      make("span", { class: "picture" }, this.image, this.note, this.badge),
      this.facts,
      this.more,
    );
    this.refresh();
  }

  /** Whether the reviewer can mark it or decide about it now. */
  get isOpen() {
    return this.picture === "shown" && !this.item.leased_by && !(this.outcome && this.outcome.status !== "refused");
  }

  /** What deciding the sheet would do with it; null for nothing. @returns {string | null} */
  get action() {
    if (!this.isOpen || !this.isSeen) return null;
    if (this.isOdd) return this.item.state === "rejected" ? "restore" : "reject";
    return this.item.state === "proposed" ? "accept" : null;
  }

  refresh() {
    const { item } = this;
    const picture = this.picture === "failed" ? this.pictureFault : this.picture === "waiting" ? "loading" : "";
    const imagery = this.isOtherImagery ? "not the imagery that the segmenter saw" : "";
    const refusal = this.outcome?.status === "refused" ? this.outcome.message : "";
    const lease = item.leased_by ? `${item.leased_by} has this property open` : "";
    this.note.textContent = refusal || picture || lease || imagery;
    const badge = this.badgeText();
    this.badge.textContent = badge;
    // Cut, not rounded: 0.699 belongs to 0.6 to 0.7.
    this.facts.textContent = `${(Math.floor(item.score * 100 + 1e-9) / 100).toFixed(2)} · ${shortArea(item.clipped_area_m2)}`;
    this.image.hidden = this.picture !== "shown";
    const state = this.outcome ? `${this.outcome.status} ${this.outcome.action}` : item.state;
    this.element.className = `tile ${this.picture} ${state}${this.isOdd ? " odd" : ""}${this.isSeen ? " seen" : ""}`;
    this.element.setAttribute("aria-selected", String(this.isOdd));
    this.image.style.borderColor = labelColour(item.label);
    const date = item.captured_on ? `imagery of ${item.captured_on}` : "";
    this.more.textContent = `, ${[item.label, item.property_id, date].filter(Boolean).join(", ")}`;
    this.element.title = `${item.property_id}\n${date}`.trim();
  }

  badgeText() {
    const { outcome, item } = this;
    if (outcome?.status === "waiting") return outcome.isTakenBack ? "taking back" : `${outcome.action}: saving`;
    if (outcome?.status === "saved") return DONE[outcome.action] ?? outcome.action;
    const state = outcome?.status === "refused" ? `${item.state}${item.reviewer ? ` by ${item.reviewer}` : ""}` : "";
    return [this.isOdd ? "odd" : "", state].filter(Boolean).join(" · ");
  }
}

/** @param {number} area_m2 */
export function shortArea(area_m2) {
  return `${area_m2.toLocaleString("en", { maximumFractionDigits: area_m2 < 10 ? 1 : 0 })} m²`;
}
