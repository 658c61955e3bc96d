/**
 * Outlines that are not saved yet, kept in the browser over a reload: one for each object and page. Two tabs that edit
 * the same object have an entry each, so that neither overwrites what the other one draws.
 */

import { KeptEntries, randomKey } from "./storage.js";

/** @typedef {import("./types.js").Geometry} Geometry */

/**
 * @typedef {object} KeptDraft
 * @property {string} reviewer
 * @property {number} property
 * @property {number | null} detection Null for a new object.
 * @property {number | null} version Of the detection that was edited.
 * @property {string} label Of the detection; empty for a new object.
 * @property {Geometry} outline
 * @property {Geometry[]} cutOff What splits have cut off.
 * @property {import("./joint_draft.js").Companions} [companions] Other objects that change with it.
 * @property {string} at When, ISO 8601.
 * @property {string} [page] The page that drew it: a tab, until it is loaded again. Older versions kept none.
 *
 * @typedef {Omit<KeptDraft, "reviewer" | "at" | "page">} Drawn
 */

const WRITE_AFTER_MS = 150;

export class DraftStore {
  /** @param {string} reviewer */
  constructor(reviewer) {
    this.reviewer = reviewer;
    this.page = randomKey();
    /** @type {KeptEntries<KeptDraft>} */
    this.kept = new KeptEntries("draft");
    /** @type {KeptDraft | null} not written yet */
    this.latest = null;
    /** @type {KeptDraft | null} the draft that is open in this page, as it was written last */
    this.open = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    addEventListener("pagehide", () => this.write());
    addEventListener("visibilitychange", () => this.write());
    // Another tab went on with the draft that is open here, or discarded it: it stays until it is closed here too.
    this.kept.onOtherTab(() => {
      if (this.open && !this.kept.get(idOf(this.open))) this.kept.put(idOf(this.open), this.open);
    });
  }

  /** Keep the draft that is open in this page soon: a vertex that is dragged changes it often. @param {Drawn} draft */
  keep(draft) {
    this.latest = this.open = this.entry(draft);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.write(), WRITE_AFTER_MS);
  }

  /** Keep a draft now that is not open in this page. @param {Drawn} draft */
  put(draft) {
    const entry = this.entry(draft);
    this.kept.put(idOf(entry), entry);
  }

  /** @param {Drawn} draft @returns {KeptDraft} */
  entry(draft) {
    return { ...draft, reviewer: this.reviewer, at: new Date().toISOString(), page: this.page };
  }

  write() {
    clearTimeout(this.timer);
    if (this.latest) this.kept.put(idOf(this.latest), this.latest);
    this.latest = null;
  }

  /** The draft is closed in this page and stays in the browser. */
  close() {
    this.write();
    this.open = null;
  }

  /** Forget what this page has kept of an object. @param {number} property @param {number | null} detection */
  forget(property, detection) {
    clearTimeout(this.timer);
    this.latest = this.open = null;
    this.kept.remove(idOf({ reviewer: this.reviewer, page: this.page, property, detection }));
  }

  /** Forget a draft of any page. @param {KeptDraft} draft */
  remove(draft) {
    this.kept.remove(idOf(draft));
  }

  /** This page goes on with a draft that another one has kept. @param {KeptDraft} draft */
  adopt(draft) {
    if (draft.page === this.page) return;
    this.put(draft);
    this.remove(draft);
  }

  /** The newest first. @param {number} property @returns {KeptDraft[]} */
  of(property) {
    return this.kept
      .all()
      .map(([, draft]) => draft)
      .filter((draft) => draft.reviewer === this.reviewer && draft.property === property)
      .sort((a, b) => b.at.localeCompare(a.at));
  }

  /** The newest one of an object. @param {number} property @param {number | null} detection @returns {KeptDraft | undefined} */
  find(property, detection) {
    return this.of(property).find((draft) => draft.detection === detection);
  }
}

/** @param {Pick<KeptDraft, "reviewer" | "property" | "detection" | "page">} draft */
function idOf({ reviewer, property, detection, page }) {
  return `${reviewer}:${property}:${detection ?? "new"}${page ? `:${page}` : ""}`;
}
