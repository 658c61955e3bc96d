/** The page of the review panel: signs in, then shows the first property. */

import "ol/ol.css";
import "./map.css";
import "./panel.css";
import "./queues.css";
import "./side.css";

import { element } from "./dialogs.js";
import { Panel } from "./panel.js";
import { enter, explainRole } from "./sign_in.js";
import { messageOf, say } from "./status.js";

/** On a phone the filter is opened by a button. */
function listenToFilterToggle() {
  const toggle = element("#filter-toggle");
  toggle.addEventListener("click", () => {
    const isOpen = element("header").classList.toggle("is-open");
    toggle.setAttribute("aria-expanded", String(isOpen));
  });
}

async function start() {
  listenToFilterToggle();
  try {
    const session = await enter();
    if (session === null) return;
    explainRole(session);
    const panel = new Panel(session);
    Object.assign(window, { lotlinePanel: panel }); // for people with the console open, and tests
    await panel.start();
  } catch (error) {
    say(messageOf(error));
  }
}

void start();
