/** The page of the contact sheet: signs in, then shows the first sheet. */

import "../panel.css";
import "./sheet.css";

import { enter } from "../sign_in.js";
import { messageOf, say } from "../status.js";
import { Sheet } from "./sheet.js";

async function start() {
  try {
    const session = await enter();
    if (session === null) return;
    const sheet = new Sheet(session);
    Object.assign(window, { lotlineSheet: sheet }); // for people with the console open, and tests
    await sheet.start();
  } catch (error) {
    say(messageOf(error));
  }
}

void start();
