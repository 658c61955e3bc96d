/**
 * Decisions that are on their way: kept in the browser until the server has answered, and sent in
 * order, each with its own key, so that a reload or an outage loses none and repeats none.
 *
 * The next one is sent only after the answer to the one before. One tab sends at a time, in turn, where
 * the browser has Web Locks; without them two tabs may send the same one, which its key makes harmless.
 * Any page of the panel may send what another has left, so what an answer or a refusal means for undo
 * and for drawn outlines is here.
 */

import { NoAnswer, Problem, call } from "./api.js";
import { DraftStore } from "./draft_store.js";
import { draftIn } from "./joint_draft.js";
import { KeptEntries, randomKey } from "./storage.js";
import { inTurn } from "./turns.js";
import { UndoStack } from "./undo_stack.js";

/**
 * @typedef {object} Item
 * @property {string} key The idempotency key.
 * @property {string} reviewer Who decided; another reviewer of this browser does not send it.
 * @property {string} path
 * @property {any} body
 * @property {string} what For people.
 * @property {number} property The key of the property.
 * @property {number[]} detections Those that it makes a new version of; not those that are added.
 * @property {"decision" | "joint" | "undo" | "redo" | "flag" | "audit"} kind
 * @property {string} [of] The key of the decision that is undone or redone, in the undo stack.
 * @property {string} [state] The state of the object once it is undone or redone.
 */

/**
 * @typedef {object} OutboxListener
 * @property {(item: Item, answer: any) => void} saved
 * @property {(item: Item, problem: Problem) => void} refused
 * @property {(count: number, why: string) => void} waiting
 */

// A decision at which the server fails each time would hold up all that follow.
const MOST_FAILURES = 3;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;

export class Outbox {
  /** @param {string} reviewer @param {OutboxListener} listener */
  constructor(reviewer, listener) {
    this.reviewer = reviewer;
    this.listener = listener;
    /** @type {KeptEntries<Item>} */
    this.kept = new KeptEntries("outbox");
    this.stack = new UndoStack(reviewer, (key) => this.isOnItsWay(key));
    this.drafts = new DraftStore(reviewer);
    this.isSending = false;
    this.isAskedAgain = false;
    this.retryMs = FIRST_RETRY_MS;
    /** @type {Map<string, number>} how often the server has failed (500), by key */
    this.failures = new Map();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    addEventListener("online", () => this.send());
  }

  /** @returns {Item[]} of this reviewer, oldest first */
  items() {
    return this.mine().map(([, item]) => item);
  }

  /** @returns {[id: string, item: Item][]} */
  mine() {
    return this.kept.all().filter(([, item]) => item.reviewer === this.reviewer);
  }

  /** What is on its way about a detection, oldest first. @param {number} detection */
  about(detection) {
    return this.items().filter((each) => each.detections.includes(detection));
  }

  /**
   * The version that a detection has after what is on its way about it; null if nothing is. It follows
   * from what was sent, not from what is shown: that may have some of it already, if an answer was lost.
   *
   * @param {number} detection
   */
  versionAfter(detection) {
    const last = this.about(detection).at(-1);
    if (!last) return null;
    const decision = last.kind === "joint" ? last.body.decisions.find((/** @type {any} */ each) => each.detection_id === detection) : last.body;
    return typeof decision.version === "number" ? decision.version + 1 : null;
  }

  /** The outlines of a property that are on their way, without those that are undone behind it. @param {number} property @returns {import("./types.js").Geometry[]} */
  outlinesOf(property) {
    const items = this.items().filter((each) => each.property === property);
    return items.flatMap((item) => {
      const isUndone = items.filter((each) => each.of !== undefined && (each.of === item.key || each.of.startsWith(`${item.key}.`))).at(-1)?.kind === "undo";
      const drawn = isUndone ? null : drawnIn(item);
      return drawn ? [drawn.outline, ...drawn.cutOff] : [];
    });
  }

  /** Whether a decision, or an undo or redo of it, is on its way. @param {string} key in the undo stack */
  isOnItsWay(key) {
    return this.items().some((each) => each.of === key || each.key === key || key.startsWith(`${each.key}.`));
  }

  /** How many decisions of others wait in this browser, by name. @returns {Map<string, number>} */
  ofOthers() {
    const counts = new Map();
    for (const [, { reviewer }] of this.kept.all())
      if (reviewer !== this.reviewer) counts.set(reviewer, (counts.get(reviewer) ?? 0) + 1);
    return counts;
  }

  /** Send an item again that was refused, under its own key. @param {Item} item */
  addAgain(item) {
    this.failures.delete(item.key);
    this.kept.add(item);
    void this.send();
  }

  /** @param {Omit<Item, "key" | "reviewer">} asked @returns {Item} */
  add(asked) {
    const item = { ...asked, key: randomKey(), reviewer: this.reviewer };
    this.kept.add(item);
    void this.send();
    return item;
  }

  /** Forget one that was not sent. @param {Item} item */
  remove(item) {
    for (const [id, each] of this.mine()) if (each.key === item.key) this.kept.remove(id);
  }

  /** Send what waits, oldest first; stop at the first that gets no answer. */
  async send() {
    this.isAskedAgain = true;
    if (this.isSending) return;
    this.isSending = true;
    clearTimeout(this.timer);
    let why = "";
    try {
      while (this.isAskedAgain && !why) {
        this.isAskedAgain = false;
        why = await this.alone(() => this.drain());
      }
    } finally {
      this.isSending = false;
      if (why) this.timer = setTimeout(() => this.send(), this.retryMs);
      this.retryMs = why ? Math.min(2 * this.retryMs, LAST_RETRY_MS) : FIRST_RETRY_MS;
      this.listener.waiting(this.items().length, why);
    }
  }

  /** @template T Run while no other tab sends, after what the last one has kept is seen. @param {() => Promise<T>} run @returns {Promise<T>} */
  alone(run) {
    return inTurn(`lotline-outbox:${this.reviewer}`, run);
  }

  /** @returns {Promise<string>} why something is left; empty if nothing is */
  async drain() {
    for (;;) {
      const first = this.mine()[0];
      if (!first) return "";
      const [id, item] = first;
      const request = this.request(item);
      if (!request) {
        this.kept.remove(id);
        continue;
      }
      try {
        const answer = await call("POST", request.path, request.body, item.key);
        this.learn(item, answer);
        this.kept.remove(id);
        this.listener.saved(item, answer);
      } catch (error) {
        const refusal = this.refusal(item, error);
        if (refusal) {
          this.giveBack(item, refusal);
          this.kept.remove(id);
          this.listener.refused(item, refusal);
        } else if (error instanceof NoAnswer || error instanceof Problem) return error.message;
        else throw error;
      }
    }
  }

  /** The refusal that an error is; null if the item waits. @param {Item} item @param {unknown} error */
  refusal(item, error) {
    if (error instanceof Problem && error.status !== 401 && error.status !== 403) return error;
    if (!(error instanceof NoAnswer) || error.status !== 500) return null;
    const failures = (this.failures.get(item.key) ?? 0) + 1;
    this.failures.set(item.key, failures);
    return failures < MOST_FAILURES ? null : new Problem(error.status, { detail: error.message });
  }

  /**
   * What is sent for an item: an undo names the event that the answer to its decision told.
   *
   * @param {Item} item @returns {{path: string, body: any} | null} null if there is nothing to send
   */
  request(item) {
    if (item.of === undefined) return item;
    const entry = this.stack.find(item.of);
    if (!entry?.review_id) return null; // what it takes back was refused, which was said
    const body = { version: item.body.version ?? entry.version };
    return { path: `/v1/review/events/${entry.review_id}/${item.kind}`, body };
  }

  /** Have the undo stack know the events and versions of an answer. @param {Item} item @param {any} answer */
  learn(item, answer) {
    if (item.kind === "flag" || item.kind === "audit") return;
    /** @type {{review_id: number, detection_id: number}[]} */
    const reviews = item.kind === "joint" ? answer.reviews : [answer];
    reviews.forEach(({ review_id, detection_id }, number) => {
      const key = item.of ?? (item.kind === "joint" ? `${item.key}.${number}` : item.key);
      // A redo is an event of its own, which the next undo names; an undo is not.
      this.stack.change(key, { detection: detection_id, ...(item.kind === "undo" ? {} : { review_id }) });
      const stored = answer.property.detections.find((/** @type {{id: number}} */ each) => each.id === detection_id);
      const seen = item.kind === "joint" ? item.body.decisions[number]?.version : item.body.version;
      const before = seen ?? this.stack.find(key)?.version ?? 1;
      const version = stored?.version ?? before + 1;
      this.stack.sawVersion(detection_id, version);
      // An undo that was asked for before the object had a number knows it now.
      const next = this.mine().find(([, each]) => each.of === key && each.key !== item.key && each.body.version === null);
      if (next) this.kept.put(next[0], { ...next[1], detections: [detection_id], body: { version } });
    });
  }

  /** A refused decision cannot be undone; what was drawn for it becomes a draft again. @param {Item} item @param {Problem} problem */
  giveBack(item, problem) {
    const key = item.of ?? item.key;
    for (const entry of this.stack.entries())
      if (entry.key === key || (item.kind === "joint" && entry.group === key)) this.stack.drop(entry.key);
    const drawn = drawnIn(item);
    // A label that was refused is asked for again.
    if (drawn) this.drafts.put(isAboutLabel(problem) ? { ...drawn, label: "" } : drawn);
  }
}

/** Whether the label was refused, not the outline. @param {Problem} problem */
export function isAboutLabel(problem) {
  /** @type {{where: string}[]} */
  const faults = problem.document?.faults ?? [];
  return faults.some(({ where }) => where.endsWith(".label"));
}

/** The outlines that a decision has. @param {Item} item @returns {Omit<import("./draft_store.js").KeptDraft, "reviewer" | "at"> | null} */
export function drawnIn(item) {
  const own = item.detections[0];
  const decisions = item.kind === "joint" ? item.body.decisions : [{ ...item.body, detection_id: own }];
  const draft = draftIn(decisions, item.what.replace(/^\S+ /, ""));
  return draft && { property: item.property, ...draft };
}
