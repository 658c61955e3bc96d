/** The page of the dashboard: signs in, then shows the first county. */

import "../panel.css";
import "./dashboard.css";

import { enter } from "../sign_in.js";
import { messageOf, say } from "../status.js";
import { Dashboard } from "./dashboard.js";

async function start() {
  try {
    if ((await enter()) !== null) await new Dashboard().start();
  } catch (error) {
    say(messageOf(error));
  }
}

void start();
