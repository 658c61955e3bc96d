/** Questions to the reviewer, as native dialogs: a screen reader and the keyboard know them. */

import { COMMANDS } from "./commands.js";

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

/**
 * Ask for one line of text, or a choice; null if it is cancelled.
 *
 * @param {string} question @param {{value?: string, choices?: string[], type?: string}} options
 * @returns {Promise<string | null>}
 */
export function ask(question, { value = "", choices = [], type = "text" } = {}) {
  const dialog = /** @type {HTMLDialogElement} */ (element("#ask"));
  const field = /** @type {HTMLInputElement} */ (
    make("input", { name: "answer", type, value, autocomplete: "off", list: "choices", maxlength: "2000" })
  );
  const list = make("datalist", { id: "choices" }, ...choices.map((each) => make("option", { value: each })));
  const form = make(
    "form",
    { method: "dialog" },
    make("label", {}, question, field),
    list,
    make("button", { value: "ok" }, "OK"),
    make("button", { value: "", formnovalidate: "", type: "button", class: "cancel" }, "Cancel"),
  );
  form.querySelector(".cancel")?.addEventListener("click", () => dialog.close(""));
  dialog.replaceChildren(form);
  dialog.returnValue = "";
  dialog.showModal();
  field.focus();
  field.select();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => resolve(dialog.returnValue === "ok" ? field.value.trim() : null),
      { once: true },
    );
  });
}

export function showHelp() {
  const dialog = /** @type {HTMLDialogElement} */ (element("#help"));
  const rows = COMMANDS.map((each) =>
    make("tr", {}, make("td", {}, make("kbd", {}, shownKey(each.key))), make("td", {}, each.title)),
  );
  dialog.replaceChildren(
    make("h2", {}, "Keys"),
    make("table", {}, make("tbody", {}, ...rows)),
    make("form", { method: "dialog" }, make("button", {}, "Close")),
  );
  dialog.showModal();
}

/** @type {Record<string, string>} */
const NAMES = {
  escape: "Esc", enter: "Enter", delete: "Del",
  arrowleft: "←", arrowright: "→", arrowup: "↑", arrowdown: "↓",
};

/** @param {string} key */
export function shownKey(key) {
  return NAMES[key] ?? key.toUpperCase();
}
