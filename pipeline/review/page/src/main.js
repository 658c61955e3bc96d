/** The review panel: one property at a time, its objects, and what the reviewer decides. */

import "ol/ol.css";
import "./panel.css";

import { NoAnswer, Problem, call, openSession, signIn } from "./api.js";
import { COMMANDS, isTyping } from "./commands.js";
import { ask, element, make, showHelp } from "./dialogs.js";
import { PropertyMap } from "./map.js";
import { Outbox } from "./outbox.js";
import { enableButtons, makeButtons, showHistory, showObjects, showProperty } from "./side.js";
import { area } from "./units.js";

/** @typedef {import("./types.js").Property} Property */
/** @typedef {import("./types.js").Detection} Detection */
/** @typedef {import("./types.js").Filter} Filter */

class Panel {
  /** @param {import("./types.js").Session} session */
  constructor(session) {
    this.canReview = session.role === "reviewer" || session.role === "admin";
    /** @type {Property | null} */
    this.property = null;
    /** @type {number | null} */
    this.selected = null;
    /** @type {number[]} keys of the properties that were shown, for the way back */
    this.shown = [];
    /** @type {number | null} the detection whose outline is edited; null for a new one */
    this.edited = null;
    this.outbox = new Outbox(session.reviewer ?? "", {
      saved: (item, answer) => {
        say(`saved: ${item.what}`);
        if (answer.property.key === this.property?.key) this.show(answer.property, false);
      },
      refused: (item, problem) => this.refused(item, problem),
      waiting: (count, why) => {
        element("#waiting").textContent = count
          ? `${count} ${count === 1 ? "decision waits" : "decisions wait"} in this browser: ${why}`
          : "";
      },
    });
    this.map = new PropertyMap(element("#map"), (id) => this.select(id));
    this.map.onChange = () => void this.measure();
    this.map.onNoImagery = (address) => void this.explainNoImagery(address);
    makeButtons((name) => void this.run(name));
    addEventListener("keydown", (event) => this.onKey(event));
    element("#help-button").addEventListener("click", showHelp);
    element("#filter").addEventListener("change", () => void this.next(0));
  }

  async start() {
    const counties = await call("GET", "/v1/review/counties");
    const select = element("#filter select[name=county]");
    select.replaceChildren(
      ...counties.map((/** @type {any} */ each) =>
        make("option", { value: each.county }, `${each.county} (${each.done} of ${each.properties})`),
      ),
    );
    await this.outbox.send();
    const key = Number(new URLSearchParams(location.hash.slice(1)).get("property"));
    if (key > 0) await this.open(key);
    else await this.next(0);
  }

  /** @returns {Filter} */
  filter() {
    const data = new FormData(/** @type {HTMLFormElement} */ (element("#filter")));
    const value = (/** @type {string} */ name) => String(data.get(name) ?? "");
    return { county: value("county"), label: value("label"), state: value("state"), source: value("source") };
  }

  /** @param {number} after */
  async next(after) {
    const wanted = Object.entries(this.filter()).filter(([, value]) => value);
    const query = new URLSearchParams([...wanted, ["after", String(after)]]);
    const { key } = await call("GET", `/v1/review/next?${query}`);
    if (key === null) say("no further property is like this");
    else await this.open(key);
  }

  /** @param {number} key */
  async open(key) {
    this.cancel();
    this.show(await call("GET", `/v1/review/properties/${key}`), true);
    if (this.shown.at(-1) !== key) this.shown.push(key);
    history.replaceState(null, "", `#property=${key}`);
  }

  /** @param {Property} property @param {boolean} isNew */
  show(property, isNew) {
    this.property = property;
    const ids = property.detections.map((each) => each.id);
    if (isNew || this.selected === null || !ids.includes(this.selected)) {
      this.selected = this.firstToDecide() ?? ids[0] ?? null;
    }
    showProperty(property);
    this.map.show(property, isNew);
    this.offerLabels();
    this.refresh();
  }

  offerLabels() {
    const select = /** @type {HTMLSelectElement} */ (element("#filter select[name=label]"));
    const known = new Set([...select.options].map((option) => option.value));
    const labels = Object.keys(this.property?.areas_m2 ?? {}).filter((each) => !known.has(each));
    select.append(...labels.map((each) => make("option", { value: each }, each)));
  }

  firstToDecide() {
    return this.property?.detections.find((each) => this.isToDecide(each))?.id;
  }

  /** Whether nobody has decided, not even just now. @param {Detection} object */
  isToDecide(object) {
    const isOnItsWay = this.outbox.countOf(`/v1/review/detections/${object.id}/reviews`) > 0;
    return object.state === "proposed" && !object.is_reviewed && !isOnItsWay;
  }

  /** @returns {Detection | undefined} */
  object() {
    return this.property?.detections.find((each) => each.id === this.selected);
  }

  refresh() {
    const detections = this.property?.detections ?? [];
    showObjects(detections, this.selected, (id) => this.select(id));
    this.map.select(this.selected);
    enableButtons((name) => this.can(name));
    void this.showHistoryOf(this.selected);
  }

  /** @param {number | null} id */
  async showHistoryOf(id) {
    const object = this.object();
    if (id === null || !object?.is_reviewed) return showHistory([]);
    const events = await call("GET", `/v1/review/detections/${id}/history`);
    if (id === this.selected) showHistory(events);
  }

  /** @param {number} id */
  select(id) {
    if (this.map.isDrafting()) return;
    this.selected = id;
    this.refresh();
  }

  /** @param {number} step */
  step(step) {
    const ids = this.property?.detections.map((each) => each.id) ?? [];
    if (!ids.length) return;
    const at = ids.indexOf(this.selected ?? -1);
    const next = ids[(at + step + ids.length) % ids.length];
    if (next !== undefined) this.select(next);
  }

  /** @param {string} name */
  can(name) {
    const command = COMMANDS.find((each) => each.name === name);
    if (!command) return false;
    const isDrafting = this.map.isDrafting();
    if (command.when === "draft") return isDrafting;
    if (command.when === "vertex") return this.map.hasCursor();
    if (command.when === "drawing") return this.map.isDrawing();
    if (isDrafting) return false;
    const isMoving = ["nextObject", "previousObject", "nextProperty", "previousProperty"].includes(name);
    if (!this.property || (!this.canReview && !isMoving)) return false;
    const object = this.object();
    if (command.when === "property") return true;
    if (!object) return false;
    return name === "restore" ? object.state === "rejected" : object.state !== "rejected";
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (isTyping(event)) return;
    if (event.key === "?") return showHelp();
    const key = event.key.toLowerCase();
    const command = COMMANDS.find((each) => each.key === key && this.can(each.name));
    // Enter and the arrows belong to a button or a list that has the focus.
    if (!command || (isFocused(event) && command.when !== "vertex" && key.length > 1 && key !== "escape")) return;
    event.preventDefault();
    void this.run(command.name, event.shiftKey ? FAR_PX : NEAR_PX);
  }

  /** @param {string} name @param {number} [px] how far a vertex is moved */
  async run(name, px = NEAR_PX) {
    const object = this.object();
    try {
      if (name === "nextProperty") await this.next(this.property?.key ?? 0);
      else if (name === "previousProperty") await this.back();
      else if (name === "nextObject") this.step(1);
      else if (name === "previousObject") this.step(-1);
      else if (name === "draw") this.begin(null, () => this.map.draw());
      else if (name === "save") await this.save();
      else if (name === "undo") this.map.undo() || say("nothing to undo");
      else if (name === "redo") this.map.redo() || say("nothing to redo");
      else if (name === "cancel") this.cancel();
      else if (name === "nextVertex") this.goToVertex(1);
      else if (name === "previousVertex") this.goToVertex(-1);
      else if (name === "vertexLeft") this.map.moveVertex(-px, 0);
      else if (name === "vertexRight") this.map.moveVertex(px, 0);
      else if (name === "vertexUp") this.map.moveVertex(0, -px);
      else if (name === "vertexDown") this.map.moveVertex(0, px);
      else if (name === "addVertex") this.map.addVertex();
      else if (name === "removeVertex") this.map.removeVertex() || say("a ring needs three vertices");
      else if (name === "drawSquare") this.map.drawSquare();
      else if (name in TOOLS) await this.useTool(name);
      else if (object && name === "edit") this.begin(object.id, () => this.map.edit(object.id));
      else if (object && name === "accept") this.decide(object, { action: "accept" });
      else if (object && name === "restore") this.decide(object, { action: "restore" });
      else if (object && name === "reject") {
        const note = await ask(`Why is this no ${object.label}?`, { choices: REASONS });
        if (note !== null) this.decide(object, { action: "reject", note });
      } else if (object && name === "relabel") {
        const label = await ask("What is it?", { value: object.label, choices: this.labels() });
        if (label) this.decide(object, { action: "relabel", label });
      }
    } catch (error) {
      if (!(error instanceof NoAnswer) && !(error instanceof Problem)) throw error;
      say(error.message);
    }
  }

  labels() {
    return [...new Set(this.property?.detections.map((each) => each.label))];
  }

  async back() {
    this.shown.pop();
    const last = this.shown.at(-1);
    if (last === undefined) say("this is the first property");
    else await this.open(last);
  }

  /** @param {Detection} object @param {{action: string, label?: string, note?: string, geometry?: any}} decision */
  decide(object, decision) {
    const path = `/v1/review/detections/${object.id}/reviews`;
    // Each decision that is still on its way will have made a version of its own.
    const version = object.version + this.outbox.countOf(path);
    void this.outbox.add(path, { ...decision, version }, `${decision.action} ${object.label}`);
    const next = this.property?.detections.find((each) => this.isToDecide(each));
    if (next && decision.action !== "edit" && decision.action !== "restore") this.select(next.id);
  }

  /** @param {number | null} id @param {() => void} open */
  begin(id, open) {
    this.edited = id;
    open();
    enableButtons((name) => this.can(name));
    say(
      id === null
        ? "click the corners, the first one again to close; or Enter begins with a square"
        : "drag a vertex, or an edge; Alt-click removes a vertex; without a mouse, V goes to a vertex",
    );
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

  /** @param {number} step */
  goToVertex(step) {
    say(this.map.stepVertex(step));
    enableButtons((name) => this.can(name));
  }

  /** @param {string} tool */
  async useTool(tool) {
    const { type, hint } = TOOLS[tool] ?? {};
    let shape = null;
    if (type) {
      say(hint ?? "");
      shape = await this.map.askShape(type);
      if (!shape) return;
    }
    const outline = this.map.draftGeometry();
    if (!outline) return;
    const body = { tool, outline, with_shape: shape, property_key: this.property?.key };
    const [kept, rest] = await call("POST", "/v1/review/outlines", body);
    this.map.changeDraft(kept.outline, rest ? [rest.outline] : []);
    if (rest) say(`two objects: ${area(kept.area_m2)} and ${area(rest.area_m2)}; S saves both`);
  }

  cancel() {
    this.map.cancel();
    enableButtons((name) => this.can(name));
    say("");
  }

  async save() {
    const geometry = this.map.draftGeometry();
    if (!geometry || !this.property) return say("the outline is not closed yet");
    const object = this.property.detections.find((each) => each.id === this.edited);
    const label = object?.label ?? (await ask("What did you draw?", { choices: this.labels() }));
    if (!label) return;
    const cutOff = this.map.cutOff();
    const drawn = object ? cutOff : [geometry, ...cutOff];
    this.cancel();
    if (object) this.decide(object, { action: "edit", geometry });
    for (const each of drawn) {
      void this.outbox.add(
        `/v1/review/properties/${this.property.key}/detections`,
        { label, geometry: each },
        `draw ${label}`,
      );
    }
    enableButtons((name) => this.can(name));
  }

  /** Say the area of the draft, as the server computes it. */
  async measure() {
    const geometry = this.map.draftGeometry();
    if (!geometry) return;
    enableButtons((name) => this.can(name));
    try {
      const { area_m2 } = await call("POST", "/v1/review/areas", geometry);
      if (this.map.isDrafting()) say(`${area(area_m2)}: S saves, Esc cancels`);
    } catch (error) {
      say(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {import("./outbox.js").Item} item @param {Problem} problem */
  refused(item, problem) {
    const theirs = problem.document?.property;
    const difference = problem.document?.difference_m2;
    const size = typeof difference === "number" ? ` The outlines differ by ${area(difference)}.` : "";
    say(`not saved: ${item.what}: ${problem.message}.${size}`);
    if (theirs && theirs.key === this.property?.key) {
      this.show(theirs, false);
      if (item.body.geometry) {
        this.edited = problem.document.detection_id;
        this.map.begin(this.map.exact.toMetres(item.body.geometry));
        enableButtons((name) => this.can(name));
      }
    }
  }
}

/** @type {Record<string, {type?: "Polygon" | "LineString" | "Point", hint?: string}>} */
const TOOLS = {
  cut: { type: "Polygon", hint: "draw the piece to cut out; click its first corner again to close" },
  join: { type: "Polygon", hint: "draw the piece to join; click its first corner again to close" },
  split: { type: "LineString", hint: "draw a line across the object; double-click ends it" },
  reshape: { type: "LineString", hint: "draw the new edge: begin and end beyond the old one; double-click ends it" },
  drop_hole: { type: "Point", hint: "click inside the hole" },
  clip: {},
};

const NEAR_PX = 1;
const FAR_PX = 10;

/** Whether a button or the list of objects has the focus. @param {KeyboardEvent} event */
function isFocused(event) {
  return event.target instanceof HTMLElement && event.target.matches("button, [role=listbox]");
}

const REASONS = ["not there", "wrong outline", "shadow", "another object", "not on this property"];

/** @param {string} text */
function say(text) {
  element("#status").textContent = text;
}

async function start() {
  try {
    let session = await openSession();
    while (session.reviewer === null) {
      const token = await ask("Your token", { type: "password" });
      if (token === null) return say("sign in to review: reload the page");
      try {
        session = await signIn(token);
      } catch (error) {
        say(error instanceof Error ? error.message : String(error));
      }
    }
    element("#who").textContent = session.is_local
      ? `${session.reviewer} (this machine alone, no token)`
      : `${session.reviewer} (${session.role})`;
    const panel = new Panel(session);
    Object.assign(window, { lotlinePanel: panel }); // for people with the console open, and tests
    await panel.start();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
  }
}

void start();
