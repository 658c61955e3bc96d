/** The review panel: one property at a time, the object that is selected, and the commands for them. */

import { NoAnswer, Problem, call } from "./api.js";
import { AUDIT_COMMANDS, Audit } from "./audit.js";
import { COMMANDS, DRAFTING, canDraft } from "./commands.js";
import { Decisions } from "./decisions.js";
import { element, showHelp } from "./dialogs.js";
import { DraftOffers } from "./draft_offers.js";
import { Editing } from "./editing.js";
import { listenToKeys } from "./keyboard.js";
import { PropertyMap } from "./map.js";
import { Conflicts } from "./conflicts.js";
import { showHistory } from "./history_list.js";
import { dismiss, notify } from "./notices.js";
import { Queues } from "./queues.js";
import { inOrder, showObjects } from "./object_list.js";
import { OutlineLayer } from "./outline_layer.js";
import { enableButtons, makeButtons, showProperty } from "./side.js";
import { isUnsafe, onUnsafe } from "./storage.js";
import { messageOf, say } from "./status.js";
import { WorkList, listenToFilter } from "./work_list.js";

/** @typedef {import("./types.js").Property} Property */
/** @typedef {import("./types.js").Detection} Detection */

/** @typedef {Record<string, (px: number) => unknown>} Actions what each command does; `px`: how far a vertex is moved */

const SLOW_MS = 400;
const GOING = "looking for the property…";

export class Panel {
  /** @param {import("./types.js").Session} session */
  constructor(session) {
    this.canReview = session.role === "reviewer" || session.role === "admin";
    /** @type {Property | null} */
    this.property = null;
    /** @type {number | null} */
    this.selected = null;
    this.workList = new WorkList();
    this.map = new PropertyMap(element("#map"), (id) => this.select(id));
    this.map.onNoImagery = (address) => void this.explainNoImagery(address);
    this.decisions = new Decisions(this, session.reviewer ?? "");
    this.drafts = this.decisions.outbox.drafts;
    this.draftOffers = new DraftOffers(this);
    this.editing = new Editing(this);
    this.conflicts = new Conflicts(this);
    this.waiting = new OutlineLayer(this.map.map);
    /** Whether the map lacks what came while an outline was drawn. */
    this.isMapOld = false;
    /** @type {Promise<unknown>} the move to another property that is under way */
    this.moving = Promise.resolve();
    this.historyOf = "";
    this.queues = new Queues(this, session.reviewer ?? "");
    this.audit = new Audit(this, session.reviewer ?? "");
    /** @type {Actions} */
    this.actions = this.audit.over({
      nextProperty: () => this.inTurn(() => this.next(this.property?.key ?? 0)),
      previousProperty: () => this.inTurn(() => this.back()),
      nextObject: () => this.step(1),
      previousObject: () => this.step(-1),
      ...this.editing.actions(),
      ...this.decisions.actions(),
      begin: () => this.inTurn(() => this.begin()),
      undo: () => this.undo(),
      redo: () => (this.map.isDrafting() ? this.editing.redo() : this.decisions.redo()),
    });
    makeButtons((name) => void this.run(name));
    listenToKeys((name) => this.can(name), (name, px) => void this.run(name, px), (command) => this.editing.explainRefused(command));
    element("#help-button").addEventListener("click", showHelp);
    element("#objects").addEventListener("keydown", (event) => this.onListKey(event));
    listenToFilter(() => void this.run("begin"));
    element("#show-rejected").addEventListener("change", () => this.refresh());
    onUnsafe(warnOfStorage);
    addEventListener("hashchange", () => void this.inTurn(() => this.openOther()).catch(explainIfExpected));
    addEventListener("beforeunload", (event) => {
      if (isUnsafe()) event.preventDefault();
    });
  }

  async start() {
    await this.workList.showCounties();
    this.decisions.tellOfOthers();
    this.workList.restore();
    await this.queues.showRuns();
    this.workList.restore(); // the run, which its county offers
    this.queues.begin();
    await this.decisions.outbox.send();
    await this.inTurn(async () => (await this.openNamed()) || this.next(0));
  }

  /** Open what the address names; whether it names something. */
  async openNamed() {
    const named = new URLSearchParams(location.hash.slice(1));
    const item = Number(named.get("audit"));
    if (item > 0) {
      this.queues.choose("audit");
      await this.audit.open(item);
      return true;
    }
    const key = Number(named.get("property"));
    if (!(key > 0)) return false;
    await this.open(key);
    const detection = Number(named.get("detection"));
    if (this.property?.detections.some((each) => each.id === detection)) this.select(detection);
    return true;
  }

  /** The address was changed while the page is open; if that cannot be opened, it names again what is shown. */
  async openOther() {
    const shown = this.property?.key;
    try {
      await this.openNamed();
    } catch (error) {
      if (shown !== undefined && shown > 0) history.replaceState(null, "", `#property=${shown}`);
      throw error;
    }
  }

  /** One move after the other: an answer that comes late must not show what was wanted before. @param {() => Promise<unknown>} move */
  inTurn(move) {
    const slow = setTimeout(() => say(GOING), SLOW_MS);
    const turn = this.moving.then(move).finally(() => {
      clearTimeout(slow);
      if (element("#status").textContent === GOING) say("");
    });
    this.moving = turn.catch(() => {});
    return turn;
  }

  /** Begin with the queue and the filter that are chosen. */
  async begin() {
    this.queues.begin();
    if (this.queues.queue() !== "audit") this.audit.close();
    await this.queues.showRuns();
    await this.next(0);
  }

  /** @param {number} after */
  async next(after) {
    if (this.canReview && this.queues.queue() === "audit") return this.audit.next();
    const found = this.canReview ? await this.queues.next(after) : { key: await this.workList.next(after) };
    if (found.key === null) {
      // Nothing matches a new filter: what is shown does not either.
      if (after === 0) await this.leaveProperty();
      return say(this.queues.atEnd());
    }
    await this.open(found.key);
    const { detection_id: id, reasons = [] } = found;
    const object = this.property?.detections.find((each) => each.id === id) ?? this.firstMatch();
    if (object) this.select(object.id);
    this.queues.explain(object && reasons.length ? `Why this one, the ${object.label}: ${reasons.join("; ")}` : "", object?.id);
  }

  /** The first object that the filter asks for; one that nobody has decided about, if there is one. */
  firstMatch() {
    const matches = inOrder(this.property?.detections ?? []).filter((each) => this.workList.matches(each));
    return matches.find((each) => this.decisions.isToDecide(each)) ?? matches[0];
  }

  /** Show no property; a draft of the one before is kept. */
  async leaveProperty() {
    this.conflicts.leave();
    this.editing.stop();
    dismiss("draft");
    this.queues.explain("");
    this.showNothing();
    history.replaceState(null, "", "#");
    await this.queues.release();
  }

  /** The property whose lease the reviewer needs. */
  leaseKey() {
    return this.audit.item?.property_key ?? this.property?.key ?? null;
  }

  async back() {
    if (this.queues.queue() === "audit") return this.audit.back();
    const key = this.workList.back();
    if (key === null) say("this is the first property");
    else await this.open(key);
  }

  /** @param {number} key */
  async open(key) {
    if (key < 0) return this.audit.open(-key); // an item of the audit
    this.conflicts.leave();
    this.editing.stop();
    const property = await this.read(key);
    this.audit.close();
    this.queues.explain("");
    this.show(property, true);
    this.workList.add(property);
    if (this.workList.goTo(property.county)) void this.queues.showRuns().catch((error) => say(messageOf(error)));
    history.replaceState(null, "", `#property=${key}`);
    this.draftOffers.offer();
    void this.queues.opened(key).catch((error) => say(messageOf(error)));
  }

  /** Read the property again, e.g. after another tab has saved something. */
  async reload() {
    const key = this.property?.key;
    if (key === undefined || this.audit.isOpen()) return;
    try {
      const property = await this.read(key);
      if (this.property?.key === key) this.show(property, false);
    } catch (error) {
      say(messageOf(error));
    }
  }

  /**
   * A property as it is stored. What was read before a decision was answered would show it as undecided, so it
   * is read again.
   *
   * @param {number} key @returns {Promise<Property>}
   */
  async read(key) {
    for (;;) {
      const { answers } = this.decisions;
      const property = await call("GET", `/v1/review/properties/${key}`);
      if (this.decisions.answers === answers) return property;
    }
  }

  /** @param {Property} property @param {boolean} isNew */
  show(property, isNew) {
    this.property = property;
    const ids = property.detections.map((each) => each.id);
    if (isNew || this.selected === null || !ids.includes(this.selected)) {
      const first = inOrder(property.detections).find((each) => this.decisions.isToDecide(each));
      this.selected = first?.id ?? inOrder(property.detections)[0]?.id ?? null;
    }
    showProperty(property, this.workList.synthetic.get(property.county) ?? null);
    // A new map would lose the exact coordinates of the outline that is drawn.
    this.isMapOld = !isNew && this.map.isDrafting();
    if (!this.isMapOld) this.map.show(property, isNew);
    this.workList.offerLabels(property);
    void this.decisions.labels.ofCounty(property.county); // known before a label is asked for, also without a network then
    this.refresh();
  }

  /** Nothing is left in the queue. */
  showNothing() {
    this.property = null;
    this.selected = null;
    element("#title").textContent = "No property";
    for (const name of ["#facts", "#fully-reviewed"]) element(name).textContent = "";
    element("#areas tbody").replaceChildren();
    this.map.layers.boundary.getSource()?.clear();
    this.map.layers.detections.getSource()?.clear();
    this.refresh();
  }

  /** @returns {Detection | undefined} the selected object */
  object() {
    return this.property?.detections.find((each) => each.id === this.selected);
  }

  /** The objects as they are listed. */
  listed() {
    const isShown = /** @type {HTMLInputElement} */ (element("#show-rejected")).checked;
    const objects = inOrder(this.property?.detections ?? []);
    return objects.filter((each) => isShown || each.state !== "rejected" || each.id === this.selected);
  }

  refresh() {
    const rejected = this.property?.detections.filter((each) => each.state === "rejected").length ?? 0;
    element("#rejected-count").textContent = String(rejected);
    element("#rejected-toggle").hidden = rejected === 0;
    const waiting = (/** @type {Detection} */ object) => this.decisions.outbox.about(object.id).at(-1)?.what ?? "";
    showObjects(this.listed(), this.selected, waiting, (id) => this.select(id));
    this.map.select(this.selected);
    this.queues.showReason();
    this.waiting.show(null, this.property ? this.decisions.outbox.outlinesOf(this.property.key) : []);
    this.enable();
    void this.showHistoryOf(this.selected);
  }

  /** An outline is closed: show what came meanwhile. */
  afterDraft() {
    if (this.isMapOld && this.property) this.map.show(this.property, false);
    this.isMapOld = false;
    this.refresh();
  }

  /** Show the buttons of what can be done now. */
  enable() {
    enableButtons((name) => this.can(name), this.audit.isMarked);
  }

  /** @param {number | null} id */
  async showHistoryOf(id) {
    const object = this.object();
    const wanted = object ? `${object.id}:${object.version}` : "";
    if (wanted === this.historyOf) return;
    this.historyOf = wanted;
    if (!object || object.version === 1) return showHistory([]);
    try {
      const events = await call("GET", `/v1/review/detections/${id}/history`);
      if (wanted === this.historyOf) showHistory(events);
    } catch {
      this.historyOf = ""; // asked again when the object is shown next
    }
  }

  /** @param {number} id */
  select(id) {
    if (this.map.isDrafting()) return;
    this.selected = id;
    this.refresh();
  }

  /** As in every list: arrows, Home and End. @param {KeyboardEvent} event */
  onListKey(event) {
    const ids = this.listed().map((each) => each.id);
    const first = ids[0], last = ids.at(-1);
    if (event.key === "ArrowDown") this.step(1);
    else if (event.key === "ArrowUp") this.step(-1);
    else if (event.key === "Home" && first !== undefined) this.select(first);
    else if (event.key === "End" && last !== undefined) this.select(last);
    else return;
    event.preventDefault();
  }

  /** @param {number} step */
  step(step) {
    const ids = this.listed().map((each) => each.id);
    if (!ids.length) return;
    const at = ids.indexOf(this.selected ?? -1);
    const next = ids[(at + step + ids.length) % ids.length];
    if (next !== undefined) this.select(next);
  }

  /** @param {string} name */
  can(name) {
    const command = COMMANDS.find((each) => each.name === name);
    if (!command) return false;
    if (DRAFTING.has(command.when)) return canDraft(this.map, command.when);
    if (command.when === "map") return this.property !== null;
    if (command.when === "mask") {
      return this.canReview && this.property?.can_click_to_mask === true && this.map.mode() !== "shape";
    }
    if (command.when === "history") {
      if (name === "undo" && this.editing.givenUp.canTakeBack()) return true;
      return this.editing.canUndo(name) ?? (this.canReview && !this.audit.isOpen() && this.decisions.can(name));
    }
    if (this.map.isDrafting() || (!this.canReview && !command.isMoving)) return false;
    if (!this.property) return name === "nextProperty" || name === "previousProperty";
    if (this.audit.isBusy) return false;
    if (this.audit.isOpen() ? !AUDIT_COMMANDS.has(name) : name === "unsure") return false;
    const object = this.object();
    if (command.when === "property") return true;
    if (!object) return false;
    return (name === "restore") === (this.decisions.expectedState(object) === "rejected");
  }

  /** Take back the last change of the outline, the giving up of it, or the last decision. */
  undo() {
    if (this.map.isDrafting()) return this.editing.undo();
    return this.editing.givenUp.canTakeBack() ? this.editing.givenUp.takeBack() : this.decisions.undo();
  }

  /** @param {string} name @param {number} [px] how far a vertex is moved */
  async run(name, px = 1) {
    try {
      await this.actions[name]?.(px);
    } catch (error) {
      explainIfExpected(error);
    }
  }

  /** A tile without imagery is empty; an error is said. @param {string} address */
  async explainNoImagery(address) {
    if (!address.startsWith("/tiles/")) return;
    try {
      const response = await fetch(address);
      if (!response.ok) say(`imagery cannot be shown: ${(await response.json()).detail}`);
    } catch {
      // the server is away: decisions say so
    }
  }
}

/** @param {unknown} error */
function explainIfExpected(error) {
  if (!(error instanceof NoAnswer) && !(error instanceof Problem)) throw error;
  say(messageOf(error));
}

function warnOfStorage() {
  notify(
    "storage",
    [
      "This browser does not keep what is not saved yet: its storage is full or blocked. Do not close or reload " +
        "this page before everything is saved; then allow storage for this site, or free some.",
    ],
    [{ title: "Dismiss", run: () => dismiss("storage") }],
  );
}
