/** What the reviewer decides about objects: sent by the outbox, answered by a property, undone by Z. */

import { NoAnswer } from "./api.js";
import { ask, element } from "./dialogs.js";
import { KnownLabels } from "./known_labels.js";
import { askForLabel } from "./label_question.js";
import { dismiss, notify } from "./notices.js";
import { inOrder } from "./object_list.js";
import { Outbox, isAboutLabel } from "./outbox.js";
import { hint, say, sinceNow } from "./status.js";

/** @typedef {import("./panel.js").Panel} Panel */
/** @typedef {import("./panel.js").Actions} Actions */
/** @typedef {import("./outbox.js").Item} Item */
/** @typedef {import("./undo_stack.js").Entry} Entry */
/** @typedef {import("./types.js").Detection} Detection */
/** @typedef {import("./types.js").Geometry} Geometry */
/** @typedef {import("./types.js").Property} Property */
/** @typedef {{action: string, detection_id?: number, label?: string, geometry?: Geometry, version?: number, note?: string}} JointDecision */
/** @typedef {{action: string, label?: string, note?: string, geometry?: Geometry, version?: number | undefined}} Decision */

const REASONS = ["not there", "wrong outline", "shadow", "another object", "not on this property"];

/** @type {Record<string, string>} */
const STATE_AFTER = { reject: "rejected", delete: "rejected", restore: "proposed" };

export class Decisions {
  /** @param {Panel} panel @param {string} reviewer */
  constructor(panel, reviewer) {
    this.panel = panel;
    this.labels = new KnownLabels();
    this.outbox = new Outbox(reviewer, {
      saved: (item, answer) => this.saved(item, answer),
      refused: (item, problem) => {
        this.answers += 1;
        if (isAboutLabel(problem)) this.labels.refused();
        panel.conflicts.show(item, problem);
      },
      waiting: (count, why) => {
        element("#waiting").textContent = count
          ? `${count} ${count === 1 ? "decision waits" : "decisions wait"} in this browser: ${why}`
          : "";
        panel.refresh();
      },
    });
    this.stack = this.outbox.stack;
    /** How many decisions the server has answered since the page was opened. */
    this.answers = 0;
    /** Whether nothing was said since the newest decision, which then may be told as saved. */
    this.isNews = sinceNow();
    /** @type {Promise<void>} the undo or redo that is under way */
    this.takingBack = Promise.resolve();
    this.outbox.kept.onOtherTab(() => void panel.reload());
  }

  /** @param {Parameters<Outbox["add"]>[0]} item @returns {ReturnType<Outbox["add"]>} */
  queue(item) {
    this.isNews = sinceNow();
    return this.outbox.add(item);
  }

  /** Decisions of somebody else who used this browser are neither sent nor forgotten. */
  tellOfOthers() {
    const { outbox } = this;
    for (const [reviewer, count] of outbox.ofOthers()) {
      const name = `others:${reviewer}`;
      const what = count === 1 ? "decision waits" : "decisions wait";
      notify(name, [`${count} ${what} in this browser for ${reviewer} to sign in.`], [
        { title: "Dismiss", run: () => dismiss(name) },
      ]);
    }
  }

  /** @returns {Actions} */
  actions() {
    return {
      accept: () => this.aboutObject((object) => this.decide(object, { action: "accept" })),
      restore: () => this.aboutObject((object) => this.decide(object, { action: "restore" })),
      delete: () => this.aboutObject((object) => this.decide(object, { action: "delete" })),
      reject: () =>
        this.aboutObject(async (object) => {
          const version = this.versionOf(object); // that the question is about: answers come meanwhile
          const note = await ask(`Why is this no ${object.label}?`, { choices: REASONS });
          if (note !== null) this.decide(object, { action: "reject", note, version });
        }),
      relabel: () =>
        this.aboutObject(async (object) => {
          const version = this.versionOf(object);
          const label = await this.askLabel("What is it?", this.labels.last || object.label);
          if (label === object.label) say(`it is ${label} already`);
          else if (label) this.decide(object, { action: "relabel", label, version });
        }),
      fullyReviewed: () => this.toggleFullyReviewed(),
    };
  }

  /** @param {(object: Detection) => void | Promise<void>} decide */
  async aboutObject(decide) {
    const object = this.panel.object();
    if (object) await decide(object);
  }

  /** Ask for a label; null if it is cancelled. @param {string} question @param {string} [value] */
  async askLabel(question, value) {
    const label = await askForLabel(this.labels, this.panel.property, question, value ?? this.labels.last);
    if (label) this.labels.use(label);
    return label;
  }

  /** Whether nobody has decided, not even just now. @param {Detection} object */
  isToDecide(object) {
    return object.state === "proposed" && !object.is_reviewed && !this.outbox.about(object.id).length;
  }

  /** The state of an object once everything is saved. @param {Detection} object @returns {string} */
  expectedState(object) {
    const last = this.outbox.about(object.id).at(-1);
    return last ? stateAfter(last, object.id) : object.state;
  }

  /** @param {Property} property @param {number | null} id */
  stateOf(property, id) {
    const object = id === null ? undefined : objectIn(property, id);
    return object && this.expectedState(object);
  }

  /** @param {Detection} object @param {Decision} decision @param {string} [group] what is undone with it */
  decide(object, decision, group) {
    const { property } = this.panel;
    if (!property) return;
    this.send(property, object, decision, group);
    const next = after(inOrder(property.detections), object.id).find((each) => this.isToDecide(each));
    if (next && !["edit", "restore"].includes(decision.action)) this.panel.select(next.id);
    else this.panel.refresh();
  }

  /** @param {Property} property @param {Detection} object @param {Decision} decision @param {string} [group] what is undone with it */
  send(property, object, decision, group) {
    const before = this.expectedState(object);
    const item = this.queue({
      path: `/v1/review/detections/${object.id}/reviews`,
      body: { ...decision, version: decision.version ?? this.versionOf(object) },
      what: `${decision.action} ${object.label}${decision.label ? ` to ${decision.label}` : ""}`, property: property.key, detections: [object.id], kind: "decision",
    });
    this.stack.push({ ...unanswered(item, object.id), group: group ?? item.key, before });
  }

  /** Add an object that no run found. @param {Property} property @param {string} label @param {Geometry} geometry @param {string} [group] */
  add(property, label, geometry, group) {
    const item = this.queue({
      path: `/v1/review/properties/${property.key}/detections`,
      body: { label, geometry }, what: `draw ${label}`, property: property.key, detections: [], kind: "decision",
    });
    this.stack.push({ ...unanswered(item, null), group: group ?? item.key });
  }

  /**
   * Decide about several objects at once: the server stores all or none, and one undo takes all back.
   *
   * @param {Property} property @param {JointDecision[]} decisions @param {string} what for people
   */
  sendTogether(property, decisions, what) {
    const ids = decisions.map((each) => each.detection_id ?? null);
    const before = ids.map((id) => this.stateOf(property, id));
    const item = this.queue({
      path: `/v1/review/properties/${property.key}/reviews`, body: { decisions }, what, property: property.key,
      detections: ids.filter((id) => id !== null), kind: "joint",
    });
    ids.forEach((id, number) =>
      this.stack.push({
        ...unanswered(item, id), key: `${item.key}.${number}`, group: item.key, before: before[number],
      }),
    );
  }

  /** The version that an object has once everything is saved. @param {Detection} object */
  versionOf(object) {
    return this.outbox.versionAfter(object.id) ?? object.version;
  }

  /** Send a decision again at which the server failed. @param {Item} item */
  tryAgain(item) {
    const { property } = this.panel;
    const detection = item.detections[0] ?? null;
    const before = property ? this.stateOf(property, detection) : undefined;
    if (item.kind === "decision") this.stack.push({ ...unanswered(item, detection), group: item.key, before });
    this.outbox.addAgain(item);
  }

  toggleFullyReviewed() {
    const { property } = this.panel;
    if (!property) return;
    const value = !property.fully_reviewed;
    const open = inOrder(property.detections).filter(
      (each) => each.state === "proposed" && !this.outbox.about(each.id).length,
    );
    const [first] = open;
    if (value && first) {
      this.panel.select(first.id);
      return say(`${open.length} ${open.length === 1 ? "object is" : "objects are"} undecided: decide about each first`);
    }
    const item = this.flag(property.key, value);
    this.stack.push({ ...unanswered(item, null), group: item.key, isFlag: true, value });
  }

  /** @param {number} property @param {boolean} value */
  flag(property, value) {
    return this.queue({
      path: `/v1/review/properties/${property}/fully-reviewed`,
      body: { fully_reviewed: value },
      what: value ? "mark as fully reviewed" : "mark as not fully reviewed",
      property, detections: [], kind: "flag",
    });
  }

  /** Whether there is something to undo, or to redo. @param {string} name */
  can(name) {
    return (name === "undo" ? this.stack.toUndo() : this.stack.toRedo()).length > 0;
  }

  undo() {
    return this.oneByOne(() => this.undoNewest());
  }

  redo() {
    return this.oneByOne(() => this.redoOldest());
  }

  /**
   * One undo or redo after the other: while one still reads its property, the next would find the same
   * decision to take back.
   *
   * @param {() => Promise<void>} move
   */
  oneByOne(move) {
    const turn = this.takingBack.then(move);
    this.takingBack = turn.catch(() => {});
    return turn;
  }

  async undoNewest() {
    const entries = this.stack.toUndo();
    const [newest] = entries;
    if (!newest) return say("nothing to undo");
    await this.goToIfPossible(newest);
    for (const entry of entries) this.takeBack(entry, "undo");
    this.panel.refresh();
    say(`undone: ${entries.map((each) => each.what).join(", ")}`);
  }

  async redoOldest() {
    const entries = this.stack.toRedo();
    const [oldest] = entries;
    if (!oldest) return say("nothing to redo");
    await this.goToIfPossible(oldest);
    for (const entry of entries) this.takeBack(entry, "redo");
    this.panel.refresh();
    say(`done again: ${entries.map((each) => each.what).join(", ")}`);
  }

  /** @param {Entry} entry @param {"undo" | "redo"} kind */
  takeBack(entry, kind) {
    this.stack.change(entry.key, { isUndone: kind === "undo" });
    if (entry.isFlag) return void this.flag(entry.property, entry.value === (kind === "redo"));
    const seen = this.panel.property?.detections.find((each) => each.id === entry.detection);
    // The answer to what waits tells about an object that has no number yet.
    const version = entry.detection === null ? null : (this.outbox.versionAfter(entry.detection) ?? seen?.version ?? entry.version);
    this.queue({
      path: "", body: { version }, what: `${kind} of: ${entry.what}`,
      property: entry.property, detections: entry.detection === null ? [] : [entry.detection], kind, of: entry.key,
      state: (kind === "undo" ? entry.before : entry.after) ?? "proposed",
    });
  }

  /** An undo waits in the outbox like every decision, also when its property cannot be read. @param {Entry} entry */
  async goToIfPossible(entry) {
    try {
      await this.goTo(entry);
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
    }
  }

  /** Show the property of a decision, and its object. @param {Entry} entry */
  async goTo(entry) {
    if (entry.property !== this.panel.property?.key) await this.panel.inTurn(() => this.panel.open(entry.property));
    const { property } = this.panel;
    const object = property?.detections.find((each) => each.id === entry.detection);
    if (object) this.panel.select(object.id);
  }

  /** @param {Item} item @param {any} answer */
  saved(item, answer) {
    this.answers += 1;
    if (item.kind === "audit") return this.panel.audit.saved(item, answer);
    const isTakenBack = item.kind === "undo" || item.kind === "redo";
    if (!isTakenBack && this.isNews()) hint(`saved: ${item.what}`);
    if (item.kind === "flag") void this.panel.workList.showCounties().catch(() => {}); // shown at the next start
    if (answer.property.key !== this.panel.property?.key) return;
    this.panel.show(answer.property, false);
    if (isTakenBack && objectIn(answer.property, answer.detection_id)) this.panel.select(answer.detection_id);
  }
}

/** What follows an object in a list, then what is before it. @param {Detection[]} objects @param {number} id */
function after(objects, id) {
  const at = objects.findIndex((each) => each.id === id);
  return [...objects.slice(at + 1), ...objects.slice(0, Math.max(0, at))];
}

/** @param {Property} property @param {number} id */
function objectIn(property, id) {
  return property.detections.find((each) => each.id === id);
}

/** The state of an object after an item that is about it. @param {Item} item @param {number} id @returns {string} */
function stateAfter(item, id) {
  if (item.kind === "undo" || item.kind === "redo") return item.state ?? "proposed";
  const bodies = item.kind === "joint" ? item.body.decisions : [{ ...item.body, detection_id: id }];
  const { action } = bodies.find((/** @type {JointDecision} */ each) => each.detection_id === id) ?? {};
  return STATE_AFTER[action] ?? "accepted";
}

/** @param {Item} item @param {number | null} detection */
function unanswered(item, detection) {
  const { key, what, property } = item;
  const after = detection === null ? undefined : stateAfter(item, detection);
  return { key, what, property, detection, review_id: null, version: null, after };
}
