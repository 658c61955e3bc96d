/**
 * The decisions of this reviewer that can be undone and redone, newest last; kept over a reload.
 *
 * An entry learns the number of its event from the server's answer. Those of one group were made by
 * one action (a split saves two objects) and are undone together.
 */

import { KeptEntries } from "./storage.js";

/**
 * @typedef {object} Entry
 * @property {string} key The idempotency key of the decision.
 * @property {string} group
 * @property {string} reviewer
 * @property {string} what For people, e.g. "reject lawn".
 * @property {number} property
 * @property {number | null} detection Null until the server has answered.
 * @property {number | null} review_id Of the event that an undo names; null until the server has answered.
 * @property {number | null} version Of the detection after the newest answer about it.
 * @property {string} [before] The state of the object before it.
 * @property {string} [after] And after it.
 * @property {boolean} isUndone
 * @property {boolean} [isForgotten] Whether it cannot be redone: it is kept for an undo that is on its way.
 * @property {boolean} [isFlag] "fully reviewed", which has no detection; `value` is what was set.
 * @property {boolean} [value]
 */

const MOST_ENTRIES = 200;

export class UndoStack {
  /**
   * @param {string} reviewer
   * @param {(key: string) => boolean} isOnItsWay whether a decision, or an undo or redo of it, is not answered yet
   */
  constructor(reviewer, isOnItsWay) {
    this.reviewer = reviewer;
    this.isOnItsWay = isOnItsWay;
    /** @type {KeptEntries<Entry>} */
    this.kept = new KeptEntries("undo");
  }

  /** @returns {[id: string, entry: Entry][]} */
  mine() {
    return this.kept.all().filter(([, entry]) => entry.reviewer === this.reviewer);
  }

  /** Remember a decision; what was undone can no longer be redone. @param {Omit<Entry, "reviewer" | "isUndone">} entry */
  push(entry) {
    const mine = this.mine();
    for (const [id, each] of mine) {
      if (!each.isUndone || each.group === entry.group) continue;
      if (this.isOnItsWay(each.key)) this.kept.put(id, { ...each, isForgotten: true });
      else this.kept.remove(id);
    }
    for (const [id] of mine.slice(0, Math.max(0, mine.length - MOST_ENTRIES))) this.kept.remove(id);
    this.kept.add({ ...entry, reviewer: this.reviewer, isUndone: false });
  }

  /** What an undo takes back, newest first. @returns {Entry[]} */
  toUndo() {
    const done = this.entries().filter((each) => !each.isUndone);
    const group = done.at(-1)?.group;
    return done.filter((each) => each.group === group).reverse();
  }

  /** What a redo makes again, oldest first. @returns {Entry[]} */
  toRedo() {
    const undone = this.entries().filter((each) => each.isUndone && !each.isForgotten);
    const group = undone[0]?.group;
    return undone.filter((each) => each.group === group);
  }

  entries() {
    return this.mine().map(([, entry]) => entry);
  }

  /** @param {string | undefined} key */
  find(key) {
    return this.entries().find((each) => each.key === key);
  }

  /** @param {string} key @param {Partial<Entry>} change */
  change(key, change) {
    for (const [id, entry] of this.mine()) if (entry.key === key) this.kept.put(id, { ...entry, ...change });
  }

  /** All entries about a detection know its newest version. @param {number} detection @param {number} version */
  sawVersion(detection, version) {
    for (const [id, entry] of this.mine())
      if (entry.detection === detection && entry.version !== version) this.kept.put(id, { ...entry, version });
  }

  /** Forget a decision that cannot be undone. @param {string} key */
  drop(key) {
    for (const [id, entry] of this.mine()) if (entry.key === key) this.kept.remove(id);
  }
}
