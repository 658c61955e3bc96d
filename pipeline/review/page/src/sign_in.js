/** Who reviews: the session, or a token that is asked for, also when a session ends in mid-work. */

import { onSessionEnd, openSession, signIn, signOut } from "./api.js";
import { ask, element, make } from "./dialogs.js";
import { dismiss, notify } from "./notices.js";
import { messageOf, say } from "./status.js";

/** @typedef {import("./types.js").Session} Session */

/** The session of a reviewer; null if no token is given. @returns {Promise<Session | null>} */
export async function enter() {
  const open = await openSession();
  const session = open.reviewer === null ? await askToken("Your token") : open;
  if (session === null) {
    say("sign in to review");
    notify("sign-in", ["Nobody is signed in."], [{ title: "Sign in", run: () => location.reload() }]);
    return null;
  }
  showReviewer(session);
  onSessionEnd(() => again(session));
  return session;
}

/** @param {Session} session */
function showReviewer(session) {
  if (session.is_local) {
    element("#who").textContent = `${session.reviewer} (this machine alone, no token)`;
    return;
  }
  const button = make("button", { type: "button", id: "sign-out" }, "Sign out");
  button.addEventListener("click", () => void leave());
  element("#who").replaceChildren(`${session.reviewer} (${session.role}) `, button);
}

async function leave() {
  try {
    await signOut();
    location.reload();
  } catch (error) {
    say(`not signed out: ${messageOf(error)}`);
  }
}

/** @type {Promise<boolean> | null} so that calls that fail at the same time ask once */
let asking = null;
let isDeclined = false;

/** Sign in again in mid-work; whether it is the same reviewer. @param {Session} before @returns {Promise<boolean>} */
function again(before) {
  if (isDeclined) return Promise.resolve(false);
  asking ??= askAgain(before).finally(() => {
    asking = null;
  });
  return asking;
}

/** @param {Session} before */
async function askAgain(before) {
  const session = await askToken("Your session has ended. Your token, to go on: nothing is lost.");
  if (session === null) {
    isDeclined = true;
    const signInNow = async () => {
      isDeclined = false;
      if (await again(before)) dispatchEvent(new Event("online"));
    };
    notify("sign-in", ["You are signed out: decisions wait in this browser."], [{ title: "Sign in", run: signInNow }]);
    return false;
  }
  dismiss("sign-in");
  // What waits is of the first reviewer, who alone sends it.
  if (session.reviewer !== before.reviewer || session.role !== before.role) location.reload();
  return session.reviewer === before.reviewer;
}

/** @param {string} question @returns {Promise<Session | null>} */
async function askToken(question) {
  for (let why = ""; ; ) {
    const token = await ask(why || question, { type: "password" });
    if (token === null) return null;
    try {
      return await signIn(token);
    } catch (error) {
      why = `${messageOf(error)}. ${question}`;
    }
  }
}

/** Say why the buttons of decisions are not there. @param {Session} session */
export function explainRole(session) {
  const note = element("#role-note");
  note.hidden = session.role !== "viewer";
  note.replaceChildren(
    "You may look, not decide: your role is viewer. An administrator makes a token with ",
    make("code", {}, "lotline review token add NAME --role reviewer"),
    ".",
  );
}
