/** The outline that is edited or drawn: its tools, its area, and saving it. */

import { Problem, call } from "./api.js";
import { DRAFTING } from "./commands.js";
import { PlaceMark, crossingOf } from "./crossings.js";
import { GivenUp } from "./given_up.js";
import { decisionsOf, titleOf } from "./joint_draft.js";
import { hint, messageOf, say, sinceNow } from "./status.js";
import { Tools } from "./tools.js";
import { area } from "./units.js";

/** @typedef {import("./panel.js").Panel} Panel */
/** @typedef {import("./panel.js").Actions} Actions */
/** @typedef {import("./types.js").Detection} Detection */
/** @typedef {import("./types.js").Geometry} Geometry */

/** @typedef {import("./joint_draft.js").WholeDraft} WholeDraft */

/**
 * @typedef {object} Measured
 * @property {Geometry} outline
 * @property {import("./drafting.js").Draft | null} draft The one that was there when it was asked.
 * @property {boolean} isDragged Whether the outline is the draft while a vertex of it is dragged, not the draft itself.
 * @property {() => boolean} isNews Whether nothing was said since it was asked.
 */

export class Editing {
  /** @param {Panel} panel */
  constructor(panel) {
    this.panel = panel;
    this.map = panel.map;
    /** @type {number | null} the detection whose outline is edited; null for a new one */
    this.edited = null;
    /** @type {number | null} the version of it that the reviewer began with */
    this.version = null;
    /** @type {{save: () => void, cancel: () => void} | null} while two versions are compared */
    this.inConflict = null;
    /** @type {string} the label of a new object, if it is known before it is saved */
    this.newLabel = "";
    /** @type {Map<number, number>} the versions of all objects that the reviewer began with */
    this.versions = new Map();
    this.tools = new Tools(this);
    this.isMeasuring = false;
    /** @type {Measured | null} what is measured next */
    this.toMeasure = null;
    /** Where the outline cannot be as it is. */
    this.mark = new PlaceMark(this.map.map);
    /** @type {{draft: import("./drafting.js").Draft, problem: Problem} | null} what the server said against a draft */
    this.refusal = null;
    this.givenUp = new GivenUp(panel);
    this.map.onChange = () => {
      this.mark.clear();
      this.keepDraft();
      this.panel.enable();
      void this.measure(this.map.draftGeometry());
    };
    this.map.onDrag = (outline) => void this.measure(outline, true);
    this.map.onCursor = () => this.sayVertex();
    this.map.onSketch = () => {
      say(this.map.input.hint());
      this.panel.enable();
      this.keepDraft(this.map.sketchedOutline());
    };
  }

  /** @returns {Actions} */
  actions() {
    const { map } = this;
    /** @type {Actions} */
    const actions = {
      draw: () => this.begin(null),
      edit: () => {
        const object = this.panel.object();
        if (object) this.begin(object);
      },
      save: () => {
        if (this.canBeSaved()) return this.inConflict ? this.inConflict.save() : this.save();
      },
      cancel: () => this.cancel(),
      nextVertex: () => this.goToVertex(1),
      previousVertex: () => this.goToVertex(-1),
      farVertex: () => this.goToVertex(map.farStep()),
      farVertexBack: () => this.goToVertex(-map.farStep()),
      zoomIn: () => map.zoom(1),
      zoomOut: () => map.zoom(-1),
      fit: () => map.framing.fit(),
      moveLeft: (px) => map.moveByKey(-px, 0),
      moveRight: (px) => map.moveByKey(px, 0),
      moveUp: (px) => map.moveByKey(0, -px),
      moveDown: (px) => map.moveByKey(0, px),
      setPoint: (px) => map.input.setPoint(px > 1),
      removePoint: () => void (map.input.removePoint() || say("no point to remove")),
      finishShape: () => void (map.input.finish() || say(`not complete: ${map.input.hint()}`)),
      addVertex: () => void map.addVertex(),
      removeVertex: () => void (map.removeVertex() || say("a ring needs three vertices")),
      drawSquare: () => map.drawSquare(),
      shareEdges: () => this.toggleShared(),
      imageryAlone: () => say(map.setImageryAlone(!map.layers.isImageryAlone) ? "the imagery alone: I shows the outlines again" : ""),
      ...this.tools.actions(),
    };
    return actions;
  }

  /** Edit an object, or draw a new one; go on with the draft of it that was kept. @param {Detection | null} object */
  begin(object) {
    const { property, drafts, decisions } = this.panel;
    const kept = property ? drafts.find(property.key, object?.id ?? null) : undefined;
    if (kept) return this.panel.draftOffers.goOn(kept);
    this.givenUp.forget();
    this.remember(object?.id ?? null, object ? decisions.versionOf(object) : null);
    if (object) {
      this.map.framing.fitIfSmall(object.id);
      this.map.edit(object.id);
    }
    if (!object) this.map.draw();
    this.panel.enable();
    say(
      object === null
        ? "click the corners, the first one again to close; or move the crosshair by arrow keys; or Enter begins with a square"
        : editHint(),
    );
  }

  /** @param {number | null} edited @param {number | null} version @param {string} [label] of a new object */
  remember(edited, version, label = "") {
    const { property, decisions } = this.panel;
    this.edited = edited;
    this.version = version;
    this.newLabel = label;
    this.versions = new Map(property?.detections.map((each) => [each.id, decisions.versionOf(each)]));
  }

  /** The label of what is edited; empty if it is not known yet. */
  label() {
    return this.panel.property?.detections.find((each) => each.id === this.edited)?.label ?? this.newLabel;
  }

  /** Begin a new object with an outline. @param {Geometry} outline @param {string} label */
  beginNew(outline, label) {
    this.remember(null, null, label);
    this.map.resume(null, outline);
    this.map.onChange();
  }

  /** Go on with an outline that is not the stored one. @param {WholeDraft} draft */
  resume({ detection, version, label, outline, cutOff, companions }) {
    this.remember(detection, version, detection === null ? label : "");
    const { neighbours, united } = companions ?? { neighbours: [], united: [] };
    this.map.resume(detection, outline, { neighbours, united: united.map(({ id }) => id) });
    if (cutOff.length) this.map.changeDraft(outline, cutOff);
    this.panel.enable();
    const changed = [...neighbours, ...united]
      .filter(({ id, version: seen }) => this.versions.get(id) !== seen)
      .map(({ id }) => this.map.labels.get(id) ?? "an object that is gone");
    if (changed.length) {
      say(`${changed.join(" and ")} was changed meanwhile: S replaces it by what is drawn here, Z leaves it as it is stored`);
    }
  }

  /** The draft as it is now; null if there is none. @param {Geometry | null} outline @returns {WholeDraft | null} */
  draft(outline = this.map.draftGeometry()) {
    if (!outline) return null;
    const { neighbours, united } = this.map.companions();
    const seen = (/** @type {number} */ id) => this.versions.get(id) ?? 1;
    return {
      detection: this.edited, version: this.version, label: this.label(), outline, cutOff: this.map.cutOff(),
      companions: {
        neighbours: neighbours.map((each) => ({ ...each, version: seen(each.id) })),
        united: united.map((id) => ({ id, version: seen(id) })),
      },
    };
  }

  /** Keep the draft in the browser until it is saved or given up. @param {Geometry | null} [outline] */
  keepDraft(outline) {
    const { property, drafts } = this.panel;
    const draft = this.draft(outline);
    if (draft && property) drafts.keep({ property: property.key, ...draft });
  }

  toggleShared() {
    const isOn = this.map.toggleShared();
    document.querySelector("[data-command=shareEdges]")?.setAttribute("aria-pressed", String(isOn));
    say(
      isOn
        ? "shared edges move together: what lies along the outline moves with it, and is accepted when you save"
        : "shared edges do not move together: the other objects stay",
    );
  }

  /** Whether the outline can be taken back; undefined if nothing is drawn. @param {string} name */
  canUndo(name) {
    const mode = this.map.mode();
    if (mode === "none") return undefined;
    return mode === "draft" || name === "undo";
  }

  undo() {
    if (!this.map.undo()) say("nothing to undo in this outline");
  }

  redo() {
    if (!this.map.redo()) say("nothing to redo in this outline");
  }

  /** @param {number} step */
  goToVertex(step) {
    if (this.map.mode() === "shape") return this.goToStop(step);
    this.map.stepVertex(step);
    this.sayVertex();
  }

  /** @param {number} step */
  goToStop(step) {
    const where = this.map.input.stepStop(step);
    say(where ? `${where}: ${this.map.input.hint()}` : "nothing to go to: the arrow keys move the crosshair");
  }

  sayVertex() {
    const how = matchMedia("(pointer: coarse)").matches
      ? "drag it, or remove it by its button"
      : "arrow keys move it, Enter adds one, Delete removes it";
    hint(`${this.map.drafting.whereCursor()}: ${how}`);
    this.panel.enable();
  }

  /** Give up the shape of a tool, or else the draft. */
  cancel() {
    if (this.map.mode() === "shape" && this.map.drafting.isActive()) {
      this.map.input.giveUp();
      say("the tool was given up");
      return this.panel.enable();
    }
    if (this.inConflict) return this.inConflict.cancel();
    this.giveUp();
  }

  /** Close the outline at the reviewer's wish; Z takes it back if something was changed. */
  giveUp() {
    const open = this.givenUp.ofOpen();
    this.forget();
    this.givenUp.kept = open;
    this.panel.enable();
    if (open) say("the outline was given up: Z takes it back");
  }

  /** Close the outline and forget its draft. */
  forget() {
    const { property, drafts } = this.panel;
    if (property) drafts.forget(property.key, this.edited);
    this.stop();
  }

  /** Say why a key does nothing now. @param {import("./commands.js").Command} command */
  explainRefused({ when, title, isMoving }) {
    if (!this.map.isDrafting() || DRAFTING.has(when)) return;
    const what = this.map.mode() === "shape" ? "a shape is drawn: S finishes it" : "an outline is open: S saves it";
    say(`${what}, Esc gives it up; then ${isMoving ? "go on" : title.toLowerCase()}`);
  }

  /** Close the outline; its draft stays in the browser. */
  stop() {
    this.panel.drafts.close();
    this.givenUp.forget();
    this.map.cancel();
    this.mark.clear();
    this.panel.afterDraft();
    say("");
  }

  /** Whether nothing is known against the outline; if something is, say it, and where: the edit goes on. */
  canBeSaved() {
    const draft = this.draft();
    if (!draft) return true; // which saving explains
    const neighbours = (draft.companions?.neighbours ?? []).map(({ outline }) => outline);
    for (const outline of [draft.outline, ...draft.cutOff, ...neighbours]) {
      const at = crossingOf(outline);
      if (!at) continue;
      this.mark.show(at);
      const whose = outline === draft.outline ? "the outline" : "the outline of an object that changes with it";
      say(`not saved: ${whose} crosses itself where the red ring is: move or remove a vertex there, or Z takes the last change back`);
      return false;
    }
    if (!this.refusal || this.refusal.draft !== this.map.drafting.now) return true;
    this.explain(this.refusal.problem, "not saved: ");
    return false;
  }

  /** Say what the server has against the outline, and mark where. @param {Problem} problem @param {string} [before] */
  explain(problem, before = "") {
    const { at } = problem.document ?? {};
    if (Array.isArray(at)) this.mark.show(at);
    say(`${before}${problem.message}${Array.isArray(at) ? "; a red ring marks the place" : ""}`);
  }

  async save() {
    const { property, decisions } = this.panel;
    const draft = this.draft();
    if (!draft || !property) return say("the outline is not closed yet");
    const object = property.detections.find((each) => each.id === draft.detection);
    if (draft.detection !== null && !object) return say("the object is gone: Esc, then draw it anew");
    const label = draft.label || (await decisions.askLabel("What did you draw?"));
    if (!label) return;
    const version = draft.version ?? (object ? decisions.versionOf(object) : null);
    const all = decisionsOf({ ...draft, label, version });
    const labelOf = (/** @type {number} */ id) => this.map.labels.get(id) ?? "";
    // The decisions are kept first: only then may the draft go.
    if (all.length > 1) decisions.sendTogether(property, all, titleOf({ ...draft, label }, labelOf));
    else if (object) decisions.send(property, object, { action: "edit", geometry: draft.outline, version: version ?? undefined });
    else decisions.add(property, label, draft.outline);
    this.forget();
  }

  /**
   * Say the area of an outline, as the server computes it; of those that come meanwhile, the last one.
   *
   * @param {Geometry | null} outline @param {boolean} [isDragged]
   */
  async measure(outline, isDragged = false) {
    this.toMeasure = outline && { outline, draft: this.map.drafting.now, isDragged, isNews: sinceNow() };
    if (this.isMeasuring) return;
    this.isMeasuring = true;
    try {
      while (this.toMeasure) {
        const measured = this.toMeasure;
        this.toMeasure = null;
        await this.measureOne(measured);
      }
    } catch (error) {
      this.toMeasure = null;
      say(messageOf(error));
    } finally {
      this.isMeasuring = false;
    }
  }

  /** @param {Measured} measured */
  async measureOne({ outline, draft, isDragged, isNews }) {
    // A late answer is about what is not shown any more, or says less than what was said meanwhile.
    const isToSay = () =>
      this.map.mode() === "draft" && this.map.drafting.now === draft && isNews() && (!isDragged || this.map.pointer.drag !== null);
    try {
      const { area_m2 } = await call("POST", "/v1/review/areas", outline);
      if (!isToSay()) return;
      this.mark.clear();
      hint(this.about(area_m2));
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 422) throw error;
      if (draft && !isDragged) this.refusal = { draft, problem: error };
      if (isToSay()) this.explain(error);
    }
  }

  /** What is edited, for people. @param {number} area_m2 */
  about(area_m2) {
    const vertex = this.map.hasCursor() ? `${this.map.drafting.whereCursor()} · ` : "";
    const along = this.map.companions().neighbours.map(({ id }) => this.map.labels.get(id) ?? "an object");
    const them = along.length > 1 ? "them" : "it";
    const others = along.length ? `; shared edges of ${along.join(" and ")} move too: saving accepts ${them}` : "";
    const count = this.map.cutOff().length;
    const pieces = count ? `; ${count === 1 ? "the piece that was cut off becomes an object" : `${count} pieces become objects`} too` : "";
    const united = this.map.companions().united.length ? "; the other object is deleted" : "";
    const parts = this.map.drafting.outline().length;
    const inParts = parts > 1 ? ` in ${parts} parts (8 removes one)` : "";
    return `${vertex}${area(area_m2)}${inParts}: S saves, Esc cancels${pieces}${united}${others}`;
  }
}

function editHint() {
  return matchMedia("(pointer: coarse)").matches
    ? "tap a vertex, then drag it or remove it by its button; tap an edge to add one"
    : "drag a vertex, or an edge; click a vertex, then Delete removes it (or Alt-click); 1 to 4 change the outline by a shape; without a mouse, V goes to a vertex; H moves shared edges";
}
