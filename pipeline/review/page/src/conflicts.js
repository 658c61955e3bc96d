/** What the server refused: both versions on the map, and the reviewer chooses. Nothing is dropped. */

import { make } from "./dialogs.js";
import { dismiss, notify } from "./notices.js";
import { drawnIn } from "./outbox.js";
import { MINE_COLOUR, OutlineLayer, THEIRS_COLOUR } from "./outline_layer.js";
import { randomKey } from "./storage.js";
import { say } from "./status.js";
import { area } from "./units.js";

/** @typedef {import("./outbox.js").Item} Item */
/** @typedef {import("./types.js").Detection} Detection */
/** @typedef {import("./types.js").Property} Property */
/** @typedef {import("./types.js").Geometry} Geometry */

export class Conflicts {
  /** @param {import("./panel.js").Panel} panel */
  constructor(panel) {
    this.panel = panel;
    this.layer = new OutlineLayer(panel.map.map);
    /** @type {(() => void) | null} while two versions are compared; what it does if the reviewer goes elsewhere */
    this.onLeave = null;
  }

  /** Another property is shown: what was not chosen yet can be chosen later. */
  leave() {
    this.onLeave?.();
  }

  /** @param {Item} item @param {import("./api.js").Problem} problem */
  show(item, problem) {
    const { panel } = this;
    const theirs = problem.document?.property;
    say(`not saved: ${item.what}: ${problem.message}`);
    const isHere = theirs && theirs.key === panel.property?.key;
    const isBusy = this.onLeave !== null || panel.map.isDrafting();
    // While something else is at hand, or another property, the reviewer comes back to it.
    if (!isHere || item.kind !== "decision" || isBusy) return this.refuse(item, problem);
    const [id] = item.detections;
    const seen = panel.property?.detections.find((/** @type {Detection} */ each) => each.id === id);
    panel.show(theirs, false);
    this.compare(item, seen, problem.document.difference_m2);
  }

  /** A refusal without a second version, or about another property. @param {Item} item @param {import("./api.js").Problem} problem */
  refuse(item, problem) {
    const { panel } = this;
    const name = `refused:${item.key}`;
    const isElsewhere = item.property !== panel.property?.key;
    const drawn = drawnIn(item);
    const kept = drawn ? " The outline is kept as a draft." : "";
    /** @param {() => unknown} run */
    const closing = (run) => () => {
      dismiss(name);
      return run();
    };
    const goOn = async () => {
      await panel.reload(); // with the versions of what refused it
      const draft = panel.drafts.find(item.property, drawn?.detection ?? null);
      if (draft && !panel.map.isDrafting()) panel.draftOffers.goOn(draft);
    };
    const again = { title: "Try again", run: closing(() => panel.decisions.tryAgain(item)) };
    notify(name, [`Not saved: ${item.what}: ${problem.message}.${kept}`], [
      ...(problem.status >= 500 ? [again] : []),
      ...(isElsewhere ? [{ title: "Go there", run: closing(() => panel.inTurn(() => panel.open(item.property))) }] : []),
      ...(drawn && !isElsewhere ? [{ title: "Go on with it", run: closing(goOn) }] : []),
      { title: "Dismiss", run: () => dismiss(name) },
    ]);
    if (!isElsewhere) void panel.reload();
  }

  /**
   * Draw both versions of an object.
   *
   * @param {Item} item what was refused @param {Detection | undefined} seen the version that was decided about
   * @param {number | null} difference_m2 between the outlines
   */
  compare(item, seen, difference_m2) {
    const { panel } = this;
    const id = item.detections[0] ?? null;
    const theirs = panel.property?.detections.find((each) => each.id === id);
    const draft = drawnIn(item);
    const mine = draft?.outline ?? null;
    if (theirs) panel.select(theirs.id);
    if (draft) panel.editing.resume({ ...draft, detection: id });
    this.layer.show(theirs?.geometry ?? null, !mine && seen ? [seen.geometry] : []);
    const size = typeof difference_m2 === "number" ? ` The outlines differ by ${area(difference_m2)}.` : "";
    const name = "conflict";
    const close = () => {
      this.onLeave = null;
      panel.editing.inConflict = null;
      dismiss(name);
      this.layer.clear();
    };
    const end = () => {
      close();
      panel.drafts.forget(item.property, id);
      if (mine) panel.editing.stop();
    };
    const keepMine = () => {
      if (item.kind === "joint" && draft) {
        close();
        return this.keepAll(draft, theirs);
      }
      const geometry = mine ? (panel.map.draftGeometry() ?? mine) : null;
      end();
      this.keepMine(item, geometry, theirs);
    };
    const takeTheirs = () => {
      end();
      say(`not saved: ${item.what}; their version stays`);
    };
    const notice = notify(
      name,
      [
        swatch(THEIRS_COLOUR), describe(theirs), " ", swatch(MINE_COLOUR), mine ? "Your outline." : `You wanted to ${item.what}.`, size,
        " Both stay in the history.",
      ],
      [
        { title: mine ? "Keep mine" : `Still ${item.what}`, key: mine ? "S" : "", run: keepMine },
        { title: "Take theirs", key: mine ? "Esc" : "", run: takeTheirs },
      ],
    );
    this.onLeave = () => {
      close();
      if (mine) return; // the outline is offered again with its property
      const why = `Not saved: ${item.what}: ${describe(theirs)}`;
      notify(`refused:${item.key}`, [why], [{ title: "Dismiss", run: () => dismiss(`refused:${item.key}`) }]);
    };
    panel.editing.inConflict = mine ? { save: keepMine, cancel: takeTheirs } : null;
    notice.querySelector("button")?.focus();
  }

  /**
   * Save the draft with all that changes with it, over the version that was seen now.
   *
   * @param {import("./joint_draft.js").WholeDraft} draft @param {Detection | undefined} theirs
   */
  keepAll(draft, theirs) {
    const { property, decisions, editing } = this.panel;
    const isRejected = theirs?.state === "rejected";
    if (isRejected && property) decisions.send(property, theirs, { action: "restore" });
    editing.edited = theirs?.id ?? null;
    editing.version = theirs ? theirs.version + (isRejected ? 1 : 0) : null;
    editing.newLabel = draft.label;
    void editing.save();
  }

  /** Decide again, over the version that was seen now. @param {Item} item @param {Geometry | null} geometry @param {Detection | undefined} theirs */
  keepMine(item, geometry, theirs) {
    const { property, decisions } = this.panel;
    if (!property) return;
    const group = randomKey();
    const { version: _, ...decision } = item.body;
    const again = geometry ? { ...decision, geometry } : decision;
    if (!theirs) {
      if (geometry) decisions.add(property, item.body.label ?? item.what.replace(/^\S+ /, ""), geometry, group);
      return;
    }
    if (theirs.state === "rejected" && decision.action !== "restore")
      decisions.send(property, theirs, { action: "restore" }, group);
    decisions.send(property, theirs, again, group);
  }
}

/** Their version in words. @param {Detection | undefined} theirs */
function describe(theirs) {
  if (!theirs) return "Now: the object was deleted.";
  const who = theirs.reviewer ? ` by ${theirs.reviewer}` : " by a run";
  return `Now: ${theirs.label}, ${theirs.state}${who}.`;
}

/** @param {string} colour */
function swatch(colour) {
  const made = make("span", { class: "swatch", "aria-hidden": "true" });
  made.style.backgroundColor = colour;
  return made;
}
