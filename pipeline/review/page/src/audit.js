/**
 * The audit: one sampled detection at a time, as it was, without anything that people decided about it.
 * The keys mean what they mean elsewhere: A correct, R wrong, F another label, E another outline.
 */

import { call } from "./api.js";
import { ask, element } from "./dialogs.js";
import { messageOf, say } from "./status.js";

/** @typedef {import("./panel.js").Panel} Panel */
/** @typedef {import("./panel.js").Actions} Actions */
/** @typedef {import("./types.js").Property} Property */
/** @typedef {import("./types.js").Geometry} Geometry */
/** @typedef {import("./outbox.js").Item} OutboxItem */
/** @typedef {{reviewer: string, verdict: string, label: string | null, note: string}} Answer */

/**
 * @typedef {object} AuditItem
 * @property {number} id
 * @property {number} property_key
 * @property {string} county
 * @property {string} property_id
 * @property {string} label
 * @property {"lot" | "buffer_30m"} source
 * @property {number} clipped_area_m2
 * @property {number} boundary_area_m2
 * @property {string | null} captured_on
 * @property {number | null} gsd_m
 * @property {number | null} coverage_fraction
 * @property {boolean | null} is_partly_imaged
 * @property {boolean} is_complete
 * @property {Geometry} geometry
 * @property {Geometry} boundary
 * @property {Answer[]} answers
 */

/** What can be done in the audit, besides drawing. */
export const AUDIT_COMMANDS = new Set([
  "accept", "reject", "relabel", "edit", "unsure", "nextProperty", "previousProperty",
]);

const SETTLE_MS = 10;
// For the counts beside the next item, and at the end of the audit.
const SETTLE_TIMES = 50;
const SETTLE_TIMES_AT_END = 200;
const REASONS = ["not there", "shadow", "another object", "not on this property"];

export class Audit {
  /** @param {Panel} panel @param {string} reviewer */
  constructor(panel, reviewer) {
    this.panel = panel;
    this.reviewer = reviewer;
    /** @type {AuditItem | null} */
    this.item = null;
    /** @type {number[]} ids of the items that were shown, for the way back */
    this.shown = [];
    /** Whether the next item is on its way: a key would be about the one before. */
    this.isBusy = false;
    /** Whether the page hides what the audit must not show. */
    this.isMarked = false;
    /** What became of the last answer: said beside the next item. */
    this.outcome = "";
  }

  isOpen() {
    return this.item !== null;
  }

  /** The actions of the panel, and what they are while an item is open. @param {Actions} actions @returns {Actions} */
  over(actions) {
    /** @type {Actions} */
    const own = {
      accept: () => this.answer("correct"),
      reject: () => this.reject(),
      relabel: () => this.relabel(),
      save: () => this.saveOutline(),
      unsure: () => this.answer("unsure"),
    };
    const chosen = Object.entries(own).map(([name, act]) => [
      name,
      (/** @type {number} */ px) => (this.isOpen() && !this.panel.editing.inConflict ? act(px) : actions[name]?.(px)),
    ]);
    return { ...actions, ...Object.fromEntries(chosen) };
  }

  async next() {
    this.isBusy = true;
    this.panel.enable();
    try {
      await this.goOn();
    } finally {
      this.isBusy = false;
      this.panel.enable();
    }
  }

  async goOn() {
    const { panel } = this;
    const { queues } = panel;
    // What was answered just now is counted once it is saved.
    const isCounted = await this.settle(SETTLE_TIMES);
    let found = await queues.next(0);
    if (found.key === null && !isCounted && (await this.settle(SETTLE_TIMES_AT_END))) found = await queues.next(0);
    this.mark(true);
    if (found.key !== null) return this.open(found.item_id, isCounted ? found.progress : undefined);
    const { items, complete, open_to_me } = found.progress;
    this.item = null;
    element("#audit-answers").textContent = "";
    panel.showNothing();
    await queues.release();
    if (open_to_me > 0) queues.forget();
    queues.explain(
      open_to_me > 0
        ? `${open_to_me} ${open_to_me === 1 ? "item is" : "items are"} left that you passed over or that others have open: W begins with them again.`
        : `Nothing is left for you in this audit of ${items} items, ${complete} of them complete. Q goes back.`,
    );
  }

  /** Wait a little until the answers are saved; whether they are. @param {number} times */
  async settle(times) {
    const { outbox } = this.panel.decisions;
    for (let wait = 0; wait < times; wait += 1) {
      if (!outbox.items().some((each) => each.kind === "audit")) return true;
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    }
    return false;
  }

  async back() {
    const before = this.shown.at(this.isOpen() ? -2 : -1);
    if (before === undefined) return say("this is the first item");
    this.shown.splice(this.isOpen() ? -2 : -1);
    await this.open(before);
  }

  /** @param {number} id @param {{items: number, complete: number, open_to_me: number}} [progress] */
  async open(id, progress) {
    this.panel.editing.stop();
    /** @type {AuditItem} */
    const item = await call("GET", `/v1/review/audit/items/${id}`);
    this.item = item;
    this.shown.push(id);
    this.mark(true);
    this.panel.show(asProperty(item), true);
    this.panel.map.framing.fitObject(keyOf(item));
    history.replaceState(null, "", `#audit=${id}`);
    const counts = progress ? ` ${progress.open_to_me} left for you, ${progress.complete} of ${progress.items} complete.` : "";
    this.panel.queues.explain(
      `Audit: is the label “${item.label}” right, and the outline? What others said is hidden.${counts}`,
    );
    this.tell(item);
    say(this.outcome);
    // Keys need not wait for the lease.
    void this.panel.queues.opened(item.property_key).catch((error) => say(messageOf(error)));
  }

  /** Leave the audit. */
  close() {
    if (!this.isMarked) return;
    this.item = null;
    this.mark(false);
    this.panel.queues.explain("");
    element("#audit-answers").textContent = "";
  }

  /** @param {boolean} isAudit */
  mark(isAudit) {
    this.isMarked = isAudit;
    document.body.classList.toggle("audit", isAudit);
    // Neighbours, and what people decided about them.
    this.panel.map.layers.overview.setVisible(!isAudit);
  }

  async reject() {
    const note = await ask(`Why is this no ${this.item?.label}?`, { choices: REASONS });
    if (note !== null) await this.answer("wrong", { note });
  }

  async relabel() {
    const label = await this.panel.decisions.askLabel("What is it?", this.item?.label);
    if (label) await this.answer("label", { label });
  }

  async saveOutline() {
    const { map, editing } = this.panel;
    const geometry = map.draftGeometry();
    if (!geometry) return say("the outline is not closed yet");
    if (map.cutOff().length) return say("an answer has one outline: cut the other piece out (1) instead of splitting");
    const isLeft = this.answer("outline", { geometry });
    editing.forget();
    await isLeft;
  }

  /** @param {string} verdict @param {{label?: string, geometry?: Geometry, note?: string}} [more] */
  async answer(verdict, more = {}) {
    const { item, panel } = this;
    if (!item) return;
    this.outcome = "";
    panel.decisions.outbox.add({
      path: `/v1/review/audit/items/${item.id}/answers`,
      body: { verdict, ...more, version: 1 },
      what: `audit: ${verdict}, ${item.label}`, property: keyOf(item), detections: [keyOf(item)], kind: "audit",
    });
    await this.next();
  }

  /** @param {OutboxItem} sent @param {{item: AuditItem}} answer */
  saved(sent, answer) {
    const others = answer.item.answers.filter((each) => each.reviewer !== this.reviewer);
    const theirs = others.map((each) => `${each.reviewer} said ${wordsOf(each)}`).join(", ");
    this.outcome = `saved: ${sent.what}${theirs ? `; ${theirs}` : ""}`;
    say(this.outcome);
  }

  /** Say what was answered before, where it may be seen. @param {AuditItem} item */
  tell(item) {
    const said = item.answers.map((each) => `${each.reviewer === this.reviewer ? "You" : each.reviewer} said ${wordsOf(each)}`);
    element("#audit-answers").textContent = said.length
      ? `${said.join("; ")}.${item.is_complete && item.answers.length > 1 ? "" : " You may answer again: the newest answer counts."}`
      : "";
  }
}

/** @param {Answer} answer */
function wordsOf(answer) {
  return answer.verdict + (answer.label ? ` (${answer.label})` : "") + (answer.note ? `: ${answer.note}` : "");
}

/** Drafts and decisions of an item are its own, not those of the property. @param {AuditItem} item */
function keyOf(item) {
  return -item.id;
}

/** An item as the page shows properties: nothing but the sampled detection. @param {AuditItem} item @returns {Property} */
function asProperty(item) {
  return {
    key: keyOf(item),
    county: item.county,
    property_id: item.property_id,
    state: "done",
    reason: "",
    address: null,
    source: item.source,
    boundary: item.boundary,
    boundary_area_m2: item.boundary_area_m2,
    captured_on: item.captured_on,
    gsd_m: item.gsd_m,
    coverage_fraction: item.coverage_fraction,
    is_partly_imaged: item.is_partly_imaged,
    areas_m2: {},
    detections: [
      {
        id: keyOf(item),
        label: item.label,
        state: "proposed",
        score: 0,
        version: 1,
        segmenter: "",
        area_m2: item.clipped_area_m2,
        clipped_area_m2: item.clipped_area_m2,
        is_reviewed: false,
        reviewer: null,
        reviewed_at: null,
        geometry: item.geometry,
      },
    ],
  };
}
