/** The contact sheet: pages of similar detections, the odd ones marked, decided with one key. */

import { NoAnswer, Problem, call } from "../api.js";
import { focusOf, isTyping } from "../commands.js";
import { ask, element, make, shownKey } from "../dialogs.js";
import { say } from "../status.js";
import { Grid } from "./grid.js";
import { Pictures } from "./pictures.js";
import { SheetDecisions } from "./sheet_decisions.js";
import { SheetFilter } from "./sheet_filter.js";
import { Tile } from "./tile.js";

/** @typedef {{tiles: Tile[], next: string | null, byScore: boolean}} Page */
/** @typedef {{key: string, title: string, run: () => unknown, isForReviewers?: boolean}} SheetCommand */

const REASONS = ["not there", "wrong outline", "shadow", "another object", "not on this property"];

export class Sheet {
  /** @param {import("../types.js").Session} session */
  constructor(session) {
    this.canReview = session.role === "reviewer" || session.role === "admin";
    this.filter = new SheetFilter();
    this.grid = new Grid((tile) => this.toggle(tile));
    this.pictures = new Pictures((tile) => this.refresh(tile));
    this.decisions = new SheetDecisions(session.reviewer ?? "", (tile, isNewPicture) => {
      if (isNewPicture) this.pictures.load(tile);
      this.refresh(tile);
    });
    /** @type {Page[]} the sheets that were shown, for the way back and for undo */
    this.pages = [];
    this.at = -1;
    this.isTurning = false;
    /** @type {(() => unknown)[]} what is done once a command ends that is under way */
    this.pending = [];
    /** @type {Record<string, SheetCommand>} */
    this.commands = {
      decide: { key: "a", title: "Decide", run: () => this.decide(), isForReviewers: true },
      toggle: { key: " ", title: "Odd, or not", run: () => this.grid.current && this.toggle(this.grid.current), isForReviewers: true },
      undo: { key: "z", title: "Undo this one", run: () => this.undoOne(), isForReviewers: true },
      undoAll: { key: "shift+z", title: "Undo the sheet", run: () => this.undoAll(), isForReviewers: true },
      next: { key: "w", title: "Next sheet", run: () => this.next() },
      back: { key: "q", title: "Back", run: () => this.back() },
      open: { key: "e", title: "Open in the panel", run: () => this.open() },
    };
    this.makeButtons();
    addEventListener("keydown", (event) => this.onKey(event));
    element("#help-button").addEventListener("click", () => this.showKeys());
    element("#filter").addEventListener("submit", (event) => event.preventDefault());
    element("#filter").addEventListener("change", (event) => this.runNext(() => this.refilter(event)));
  }

  async start() {
    await this.run(async () => {
      await this.decisions.outbox.send();
      await this.filter.start();
      await this.begin();
    });
  }

  /** @param {Event} event */
  async refilter(event) {
    const field = event.target instanceof HTMLElement ? event.target.getAttribute("name") : "";
    if (!this.filter.isValid()) return;
    if (field === "county" || field === "state") await this.filter.offerLabels();
    await this.begin();
  }

  /** The first sheet of the filter. */
  async begin() {
    this.pages = [];
    this.at = -1;
    const query = this.filter.query();
    if (query) await this.load(query);
    else this.show({ tiles: [], next: null, byScore: true });
    if (!this.page?.tiles.length) say("no detection is like this: choose another label, state or range");
  }

  /** @param {string} said what is said then */
  async readAgain(said) {
    this.decisions.onIdle = () => {};
    await this.filter.offerLabels();
    await this.begin();
    say(said);
  }

  /** @param {URLSearchParams} query */
  async load(query) {
    const { items, next } = await call("GET", `/v1/review/sheet?${query}`);
    const tiles = items.map((/** @type {import("./tile.js").SheetItem} */ item) => new Tile(item));
    this.decisions.watch(tiles);
    this.pages.push({ tiles, next, byScore: this.filter.byScore });
    this.at = this.pages.length - 1;
    this.show(this.pages[this.at] ?? { tiles: [], next: null, byScore: true });
    say("");
  }

  /** @param {Page} page */
  show(page) {
    this.grid.show(page.tiles, page.byScore);
    this.pictures.show(page.tiles);
    this.refreshButtons();
  }

  /** @returns {Page | undefined} */
  get page() {
    return this.pages[this.at];
  }

  async next() {
    const later = this.pages[this.at + 1];
    if (later) {
      this.at += 1;
      return this.show(later);
    }
    const query = this.filter.query();
    const after = this.page?.next;
    if (!query || !after) return say("this is the last sheet");
    query.set("after", after);
    await this.load(query);
  }

  back() {
    const earlier = this.pages[this.at - 1];
    if (!earlier) return say("this is the first sheet");
    this.at -= 1;
    this.show(earlier);
  }

  /** @param {Tile} tile */
  toggle(tile) {
    if (!this.canReview) return;
    if (tile.picture === "failed") {
      say("its picture is loaded again; what cannot be seen is not decided here: E opens it in the panel");
      this.pictures.load(tile);
    } else if (tile.isOpen) {
      tile.isOdd = !tile.isOdd;
      this.refresh(tile);
    } else if (tile.item.leased_by) say(`${tile.item.leased_by} has this property open: it is not decided here`);
    else say(tile.outcome ? "it is decided: Z takes that back" : "its picture is still loading");
  }

  async decide() {
    const tiles = this.page?.tiles ?? [];
    // What is seen later, behind the question, was not what the button said.
    const meant = tiles.filter((tile) => tile.action);
    const odd = meant.filter((tile) => tile.isOdd);
    let reason = "";
    if (odd.some((tile) => tile.action === "reject")) {
      const label = odd[0]?.item.label ?? "";
      const answer = await ask(`Why ${odd.length === 1 ? "is this" : `are these ${odd.length}`} no ${label}?`, { choices: REASONS });
      if (answer === null) return;
      reason = answer;
    }
    const decided = meant.filter((tile) => tile.action);
    if (!decided.length) return say("there is nothing to decide: only what you have seen is decided");
    const counts = countActions(decided);
    this.decisions.decide(decided, reason);
    const unseen = tiles.filter((tile) => !tile.isSeen && !tile.outcome).length;
    say(`${counts}.${unseen ? ` ${unseen} not seen: not decided.` : ""} Shift+Z takes the sheet back`);
  }

  undoOne() {
    const tile = this.grid.current;
    if (!tile || !this.decisions.takeBack(tile)) say("nothing was decided about this one here");
  }

  undoAll() {
    const taken = (this.page?.tiles ?? []).filter((tile) => this.decisions.takeBack(tile)).length;
    const before = taken ? [] : this.decisions.ofBefore();
    for (const entry of before) this.decisions.undo(entry, null);
    const count = taken || before.length;
    const said = count ? `${count} ${count === 1 ? "decision" : "decisions"} taken back` : "no sheet was decided here";
    say(said);
    // They are not on this sheet: it is read again once all are saved.
    if (before.length) this.decisions.onIdle = () => this.runNext(() => this.readAgain(said));
    this.refreshButtons();
  }

  open() {
    const item = this.grid.current?.item;
    if (item) window.open(`/#property=${item.property_key}&detection=${item.id}`, "_blank", "noopener");
  }

  /** @param {Tile} tile */
  refresh(tile) {
    const isCurrent = tile === this.grid.current;
    tile.refresh();
    tile.element.classList.toggle("current", isCurrent);
    this.refreshButtons();
  }

  refreshButtons() {
    const tiles = this.page?.tiles ?? [];
    const unseen = tiles.filter((tile) => !tile.isSeen && !tile.outcome).length;
    const what = countActions(tiles.filter((tile) => tile.action));
    this.label("decide", `${what || "Nothing to decide"}${unseen ? ` (${unseen} not seen yet)` : ""}`);
    this.enable("decide", what !== "");
    const isDecided = tiles.some((tile) => tile.outcome && tile.outcome.status !== "refused");
    this.enable("undoAll", isDecided || this.decisions.ofBefore().length > 0);
    this.enable("back", this.at > 0);
    this.enable("next", Boolean(this.pages[this.at + 1] || this.page?.next));
  }

  makeButtons() {
    const buttons = Object.entries(this.commands).map(([name, command]) => {
      const title = make("span", {}, command.title);
      const button = make("button", { type: "button", "data-command": name, "aria-keyshortcuts": keyName(command.key) }, title, " ", make("kbd", {}, keyName(command.key)));
      button.hidden = Boolean(command.isForReviewers) && !this.canReview;
      button.addEventListener("click", () => void this.run(command.run));
      return button;
    });
    element("#actions").replaceChildren(...buttons);
  }

  /** @param {string} name @param {string} title */
  label(name, title) {
    element(`[data-command=${name}] span`).textContent = title;
  }

  /** @param {string} name @param {boolean} isEnabled */
  enable(name, isEnabled) {
    /** @type {HTMLButtonElement} */ (element(`[data-command=${name}]`)).disabled = !isEnabled;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (isTyping(event)) return;
    if (event.key === "?") return this.showKeys();
    const isOnButton = focusOf(event).matches("button, a");
    const key = event.key.toLowerCase();
    if (isOnButton && (key === " " || key === "enter")) return;
    const pressed = event.shiftKey && key.length === 1 ? `shift+${key}` : key;
    const command = Object.values(this.commands).find((each) => each.key === pressed);
    if (command && (this.canReview || !command.isForReviewers)) void this.run(command.run);
    else if (!this.grid.move(key)) return;
    event.preventDefault();
  }

  /** Run a command now, or after the one that is under way: a choice in the filter is never dropped. @param {() => unknown} command */
  runNext(command) {
    if (this.isTurning) this.pending.push(command);
    else void this.run(command);
  }

  /** Run a command, one at a time, and say why it failed. @param {() => unknown} command */
  async run(command) {
    if (this.isTurning) return; // it was about the sheet before
    this.isTurning = true;
    try {
      await command();
    } catch (error) {
      if (!(error instanceof NoAnswer) && !(error instanceof Problem)) throw error;
      say(error.message);
    } finally {
      this.isTurning = false;
      const next = this.pending.shift();
      if (next) void this.run(next);
    }
  }

  showKeys() {
    const dialog = /** @type {HTMLDialogElement} */ (element("#help"));
    const keys = [...Object.values(this.commands).map((each) => [keyName(each.key), each.title]), ["← → ↑ ↓", "Go to another one"]];
    const rows = keys.map(([key = "", title = ""]) => make("tr", {}, make("td", {}, make("kbd", {}, key)), make("td", {}, title)));
    dialog.replaceChildren(
      make("h2", {}, "Keys"),
      make("table", {}, make("tbody", {}, ...rows)),
      make("form", { method: "dialog" }, make("button", {}, "Close")),
    );
    dialog.showModal();
  }
}

/** "Accept 41, reject 2". @param {Tile[]} tiles that have an action */
function countActions(tiles) {
  const counts = ["accept", "reject", "restore"].map((action) => {
    const count = tiles.filter((tile) => tile.action === action).length;
    return count ? `${action} ${count}` : "";
  });
  const said = counts.filter(Boolean).join(", ");
  return said.charAt(0).toUpperCase() + said.slice(1);
}

/** @param {string} key */
function keyName(key) {
  if (key === " ") return "Space";
  return key.startsWith("shift+") ? `Shift+${shownKey(key.slice(6))}` : shownKey(key);
}
