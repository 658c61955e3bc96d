/** Messages that stay until they are answered: a conflict, a refusal, an outline that waits. */

import { element, make } from "./dialogs.js";

/** @typedef {{title: string, key?: string, run: () => unknown}} NoticeAction */

/**
 * Show a notice; one of the same name takes its place.
 *
 * @param {string} name @param {(Node | string)[]} content @param {NoticeAction[]} actions
 */
export function notify(name, content, actions) {
  const buttons = actions.map(({ title, key, run }) => {
    const button = make("button", { type: "button" }, title, ...(key ? [" ", make("kbd", {}, key)] : []));
    button.addEventListener("click", () => void run());
    return button;
  });
  const notice = make(
    "section",
    { class: "notice", "data-notice": name, "aria-label": "Notice" },
    make("p", {}, ...content),
    make("p", { class: "choices" }, ...buttons),
  );
  const old = find(name);
  if (old) old.replaceWith(notice);
  else element("#notices").append(notice);
  return notice;
}

/** @param {string} name */
export function dismiss(name) {
  find(name)?.remove();
}

/** @param {string} name */
function find(name) {
  return [...element("#notices").querySelectorAll(".notice")].find(
    (each) => each.getAttribute("data-notice") === name,
  );
}
