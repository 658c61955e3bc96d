/** Questions to the reviewer, as native dialogs: a screen reader and the keyboard know them. */

import { COMMANDS, COMMAND_GROUPS, titleOf } from "./commands.js";

/** @param {string} selector @returns {HTMLElement} */
export function element(selector) {
  const found = document.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`the page has no ${selector}`);
  return found;
}

/**
 * Make an element with text and children; text is never HTML.
 *
 * @param {string} tag @param {Record<string, string>} attributes
 * @param {...(Node | string)} children
 */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const MOST_NUMBERED = 9;
let questions = 0;

/**
 * Ask for one line of text, or a choice; null if it is cancelled. A question that comes while another
 * is open lies above it.
 *
 * @param {string} question
 * @param {{value?: string, choices?: string[] | Promise<string[]>, type?: string, check?: (text: string) => Promise<string>}} options
 *   choices that come later are offered when they are there: the field does not wait for them; `check`
 *   says what is wrong with an answer, which leaves the question open
 * @returns {Promise<string | null>}
 */
export function ask(question, { value = "", choices = [], type = "text", check } = {}) {
  const list = `choices-${(questions += 1)}`;
  const field = /** @type {HTMLInputElement} */ (
    make("input", { name: "answer", type, value, autocomplete: "off", list, maxlength: "2000" })
  );
  const offered = make("datalist", { id: list });
  void Promise.resolve(choices).then((known) => {
    offered.append(...known.map((each) => make("option", { value: each })));
    numbered.append(...known.slice(0, MOST_NUMBERED).map((each, at) => numberedChoice(each, at + 1, take)));
  });
  const fault = make("p", { class: "fault", role: "alert" });
  const numbered = make("p", { class: "choices numbered" });
  const form = /** @type {HTMLFormElement} */ (make(
    "form",
    { method: "dialog" },
    make("label", {}, question, field),
    offered,
    numbered,
    fault,
    make(
      "p",
      { class: "choices" },
      make("button", { value: "ok", class: "primary" }, "OK"),
      make("button", { value: "", formnovalidate: "", type: "button", class: "cancel" }, "Cancel"),
    ),
  ));
  const dialog = /** @type {HTMLDialogElement} */ (make("dialog", { class: "question", "aria-label": question }, form));
  const take = (/** @type {string} */ choice) => {
    if (field.readOnly) return; // an answer is being checked
    field.value = choice;
    form.requestSubmit();
  };
  // A digit that would begin the answer takes the choice with that number, also one that is not there yet.
  field.addEventListener("keydown", async (event) => {
    const isWhole = field.selectionStart === 0 && field.selectionEnd === field.value.length;
    if (!isWhole || !/^[1-9]$/.test(event.key) || event.ctrlKey || event.altKey || event.metaKey) return;
    const before = field.value;
    const number = Number(event.key);
    const isLate = choices instanceof Promise && !offered.children.length;
    if (!isLate && number > numbered.children.length) return;
    event.preventDefault();
    if (isLate) await choices;
    const choice = numbered.children[number - 1];
    if (choice instanceof HTMLButtonElement) choice.click();
    else if (field.value === before) field.setRangeText(event.key, 0, before.length, "end");
  });
  form.querySelector(".cancel")?.addEventListener("click", () => dialog.close(""));
  const answered = answerOf(dialog, form, async () => {
    field.readOnly = true; // what is typed while it is checked would not be
    const why = check ? await check(field.value.trim()) : "";
    field.readOnly = false;
    fault.textContent = why;
    field.setAttribute("aria-invalid", String(why !== ""));
    return why === "";
  });
  field.focus();
  field.select();
  return answered.then((value) => (value === "ok" ? field.value.trim() : null));
}

/** @param {string} choice @param {number} number @param {(choice: string) => void} take */
function numberedChoice(choice, number, take) {
  const button = make("button", { type: "button", "aria-keyshortcuts": String(number) }, choice, " ", make("kbd", {}, String(number)));
  button.addEventListener("click", () => take(choice));
  return button;
}

/**
 * Show a question until it is answered. The answer is there before the next key is handled: the event
 * "close" alone may come after it.
 *
 * @param {HTMLDialogElement} dialog @param {HTMLElement} form
 * @param {() => Promise<boolean>} [isGood] whether an answer can be taken
 * @returns {Promise<string>} the value of the button; empty if it is cancelled
 */
function answerOf(dialog, form, isGood = async () => true) {
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    const end = (/** @type {string} */ value) => {
      if (dialog.open) dialog.close(value);
      resolve(dialog.returnValue);
    };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const { submitter } = event;
      if (await isGood()) end(submitter instanceof HTMLButtonElement ? submitter.value : "ok");
    });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      end("");
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

/**
 * Ask for one of several answers, each a button, the first of which has the focus; null if it is cancelled.
 *
 * @param {string} question @param {{title: string, value: string}[]} answers
 * @returns {Promise<string | null>}
 */
export function choose(question, answers) {
  const buttons = answers.map(({ title, value }) => make("button", { value }, title));
  buttons[0]?.classList.add("primary");
  const form = make(
    "form", { method: "dialog" }, make("p", {}, question),
    make("p", { class: "choices" }, ...buttons, make("button", { value: "" }, "Cancel")),
  );
  const dialog = /** @type {HTMLDialogElement} */ (make("dialog", { class: "question", "aria-label": question }, form));
  const answered = answerOf(dialog, form);
  buttons[0]?.focus();
  return answered.then((value) => value || null);
}

export function showHelp() {
  const dialog = /** @type {HTMLDialogElement} */ (element("#help"));
  const isAudit = document.body.classList.contains("audit");
  const row = (/** @type {import("./commands.js").Command} */ each) =>
    make("li", {}, make("kbd", {}, shownKey(each.key)), " ", titleOf(each, isAudit));
  const groups = COMMAND_GROUPS.map(([title, states]) =>
    make(
      "section", {}, make("h3", {}, title),
      make("ul", {}, ...COMMANDS.filter((each) => states.includes(each.when)).map(row)),
    ),
  );
  dialog.replaceChildren(
    make("h2", {}, "Keys"),
    make("div", { class: "keys" }, ...groups),
    make("form", { method: "dialog" }, make("button", {}, "Close")),
  );
  dialog.showModal();
}

/** @type {Record<string, string>} */
const NAMES = {
  escape: "Esc", enter: "Enter", delete: "Del", backspace: "⌫",
  arrowleft: "←", arrowright: "→", arrowup: "↑", arrowdown: "↓",
};

/** @param {string} key @returns {string} */
export function shownKey(key) {
  if (key.startsWith("shift+")) return `⇧${shownKey(key.slice(6))}`;
  return NAMES[key] ?? key.toUpperCase();
}

/** A key as `aria-keyshortcuts` has it. @param {string} key @returns {string} */
export function ariaKey(key) {
  return key.replace(/(^|\+)([a-z])/g, (_, before, letter) => before + letter.toUpperCase());
}
