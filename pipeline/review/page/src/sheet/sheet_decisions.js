/** Decisions about the tiles of a sheet: an event each, sent by the outbox; each can be taken back. */

import { element } from "../dialogs.js";
import { Outbox } from "../outbox.js";
import { say } from "../status.js";
import { randomKey } from "../storage.js";

/** @typedef {import("./tile.js").Tile} Tile */
/** @typedef {import("../outbox.js").Item} Item */
/** @typedef {import("../undo_stack.js").Entry} Entry */

/** How the groups of sheets begin in the undo stack. */
const SHEET = "sheet:";

export class SheetDecisions {
  /** @param {string} reviewer @param {(tile: Tile, isNewPicture: boolean) => void} onChange */
  constructor(reviewer, onChange) {
    this.onChange = onChange;
    this.onIdle = () => {};
    /** @type {Map<number, Tile>} by the id of the detection, of every sheet since the page was opened */
    this.tiles = new Map();
    this.outbox = new Outbox(reviewer, {
      saved: (item, answer) => this.saved(item, answer),
      refused: (item, problem) => this.refused(item, problem),
      waiting: (count, why) => {
        const what = count === 1 ? "decision waits" : "decisions wait";
        element("#waiting").textContent = count && why ? `${count} ${what} in this browser: ${why}` : "";
        if (!count) this.onIdle();
      },
    });
  }

  /** @param {Tile[]} tiles */
  watch(tiles) {
    for (const tile of tiles) this.tiles.set(tile.item.id, tile);
  }

  /** Do what each tile asks for. @param {Tile[]} tiles @param {string} reason why the odd ones are rejected */
  decide(tiles, reason) {
    const group = `${SHEET}${randomKey()}`;
    for (const tile of tiles) {
      const { action, item } = tile;
      if (action === null) continue;
      const note = action === "reject" ? reason : "";
      const what = `${action} ${item.label}`;
      const { key } = this.outbox.add({
        path: `/v1/review/detections/${item.id}/reviews`, body: { action, version: item.version, note }, what,
        property: item.property_key, detections: [item.id], kind: "decision",
      });
      this.outbox.stack.push({ key, group, what, property: item.property_key, detection: item.id, review_id: null, version: null });
      tile.outcome = { action, key, status: "waiting", message: "", isTakenBack: false };
      this.onChange(tile, false);
    }
  }

  /** Take back what was decided here. @param {Tile} tile @returns {boolean} whether there is something */
  takeBack(tile) {
    const { outcome } = tile;
    if (!outcome || outcome.status === "refused" || outcome.isTakenBack) return false;
    const waiting = this.outbox.items().findIndex((each) => each.key === outcome.key);
    const item = this.outbox.items()[waiting];
    // The first one may have reached the server already: it is undone once its answer is there.
    if (waiting > 0 && item) {
      this.outbox.remove(item);
      this.outbox.stack.drop(outcome.key);
      tile.outcome = null;
    } else {
      const entry = this.outbox.stack.find(outcome.key);
      if (!entry) return false;
      this.undo(entry, item ? null : tile.item.version);
      Object.assign(outcome, { status: "waiting", isTakenBack: true });
    }
    this.onChange(tile, false);
    return true;
  }

  /** What the newest sheet decided that this page does not show, because it was reloaded. @returns {Entry[]} */
  ofBefore() {
    const entries = this.outbox.stack.toUndo();
    return entries.every((each) => each.group.startsWith(SHEET)) ? entries : [];
  }

  /** @param {Entry} entry @param {number | null} version that was seen; null for that of the answer */
  undo(entry, version) {
    this.outbox.stack.change(entry.key, { isUndone: true });
    this.outbox.add({
      path: "", body: { version }, what: `undo of: ${entry.what}`, property: entry.property,
      detections: entry.detection === null ? [] : [entry.detection], kind: "undo", of: entry.key,
    });
  }

  /** @param {Item} item @param {any} answer */
  saved(item, answer) {
    const tile = this.tiles.get(answer.detection_id);
    if (!tile) return;
    this.update(tile, answer.property);
    if (item.kind === "undo") tile.outcome = null;
    else if (tile.outcome && !tile.outcome.isTakenBack) tile.outcome.status = "saved";
    this.onChange(tile, false);
  }

  /** @param {Item} item @param {import("../api.js").Problem} problem */
  refused(item, problem) {
    const tile = this.tiles.get(item.detections[0] ?? 0);
    say(`not saved: ${item.what}: ${problem.message}`);
    if (!tile) return;
    const action = String(item.body.action ?? "undo");
    tile.outcome = { action, key: item.key, status: "refused", message: `not saved: ${problem.message}`, isTakenBack: false };
    const theirs = problem.document?.property;
    if (theirs) this.update(tile, theirs);
    this.onChange(tile, Boolean(theirs));
  }

  /** The detection as it is now; one that is not there any more was superseded. @param {Tile} tile @param {any} property */
  update(tile, property) {
    const now = property.detections.find((/** @type {{id: number}} */ each) => each.id === tile.item.id);
    const { state, version, label, score, clipped_area_m2, reviewer } = now ?? { ...tile.item, state: "superseded" };
    Object.assign(tile.item, { state, version, label, score, clipped_area_m2, reviewer });
  }
}
