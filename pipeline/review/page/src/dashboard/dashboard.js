/** The dashboard: the figures of one county. */

import { call } from "../api.js";
import { element, make } from "../dialogs.js";
import { messageOf, say } from "../status.js";
import { ofAgreement, ofAreas, ofCalibration, ofPrecision } from "./audit_specs.js";
import { captionOf } from "./caption.js";
import { Figure } from "./figure.js";
import { decidedOf, ofOutcomes, ofPace, ofProgress, ofProperties } from "./review_specs.js";
import { count, rough } from "./words.js";

/** @typedef {import("./figures_data.js").CountyFigures} CountyFigures */

const PRINTED_PX = 640;

export class Dashboard {
  constructor() {
    /** @type {Figure[]} */
    this.figures = [];
    this.drawnPx = 0;
    this.isPrinting = false;
    /** How often figures were asked for: an answer to an earlier question is late. */
    this.asked = 0;
    this.select = /** @type {HTMLSelectElement} */ (element("#filter select"));
    this.select.addEventListener("change", () => void this.load());
    element("#filter").addEventListener("submit", (event) => event.preventDefault());
    element("#refresh").addEventListener("click", () => void this.load());
    new ResizeObserver(() => this.resize()).observe(element("#figures"));
    // On paper the tables are open, and charts have a width of their own.
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
  }

  async start() {
    /** @type {{county: string}[]} */
    const counties = await call("GET", "/v1/review/counties");
    this.select.replaceChildren(...counties.map((each) => make("option", { value: each.county }, each.county)));
    const wanted = new URLSearchParams(location.hash.slice(1)).get("county");
    if (wanted !== null && counties.some((each) => each.county === wanted)) this.select.value = wanted;
    if (counties.length) await this.load();
    else say("no county has properties yet: run a batch first");
  }

  async load() {
    const county = this.select.value;
    const asked = (this.asked += 1);
    history.replaceState(null, "", `#${new URLSearchParams({ county })}`);
    say("loading");
    try {
      /** @type {CountyFigures} */
      const figures = await call("GET", `/v1/review/counties/${encodeURIComponent(county)}/dashboard`);
      if (asked === this.asked) this.show(figures);
    } catch (error) {
      if (asked !== this.asked) return;
      // Figures of before would look like those of this county.
      element("#numbers").replaceChildren();
      element("#figures").replaceChildren();
      this.figures = [];
      say(`the figures cannot be shown: ${messageOf(error)}`);
    }
  }

  /** @param {CountyFigures} figures */
  show(figures) {
    const open = new Set(this.figures.filter((each) => each.table.hasAttribute("open")).map((each) => each.spec.id));
    element("#numbers").replaceChildren(...numbersOf(figures));
    const specs = [
      ofProperties(figures), ofProgress(figures), ofOutcomes(figures), ofPrecision(figures), ofAreas(figures),
      ofCalibration(figures), ofAgreement(figures), ofPace(figures, "day"), ofPace(figures, "hour"),
    ]; // prettier-ignore
    this.figures = specs.map((spec) => new Figure(spec, captionOf(figures, spec.id)));
    for (const each of this.figures) each.table.toggleAttribute("open", open.has(each.spec.id));
    element("#figures").replaceChildren(...this.figures.map((each) => each.element));
    this.draw();
    say(`as of ${new Date(figures.generated_at).toLocaleString()}`);
  }

  /** @param {number} [width] */
  draw(width) {
    this.drawnPx = element("#figures").clientWidth;
    for (const each of this.figures) each.draw(width);
  }

  resize() {
    if (!this.isPrinting && element("#figures").clientWidth !== this.drawnPx) this.draw();
  }

  /** @param {boolean} isPrinting */
  print(isPrinting) {
    this.isPrinting = isPrinting;
    for (const each of this.figures) each.table.toggleAttribute("open", isPrinting);
    this.draw(isPrinting ? PRINTED_PX : undefined);
  }
}

/** What matters most, as numbers. @param {CountyFigures} figures */
function numbersOf({ progress, undecided, pace }) {
  const decided = progress.labels.reduce((total, each) => total + decidedOf(each), 0);
  const missing = `not known yet: needs ${pace.min_reviews} timed reviews in ${pace.min_sessions} sessions, there are ${count(pace.timed_reviews)} in ${count(pace.sessions)}`;
  const { hours_left: left, reviews_per_hour: speed } = pace;
  const isKnown = left !== null && left.estimate !== null && speed !== null && speed.estimate !== null;
  return [
    number("Decided", count(decided), "detections that a run found"),
    number("Undecided", count(undecided), "detections"),
    number("Fully reviewed", count(progress.properties_fully_reviewed), "properties"),
    isKnown
      ? number("Reviews an hour", rough(speed.estimate ?? 0), `of one reviewer; 95 %: ${rough(speed.low)} to ${rough(speed.high)}`)
      : number("Reviews an hour", "—", missing),
    undecided === 0
      ? number("Reviewer-hours left", "none", "everything is decided")
      : isKnown
        ? number("Reviewer-hours left", range(rough(left.low), rough(left.high)), "95 % interval, at the pace of the last 30 days")
        : number("Reviewer-hours left", "—", missing),
  ];
}

/** @param {string} low @param {string} high */
function range(low, high) {
  return low === high ? `about ${low}` : `${low}–${high}`;
}

/** @param {string} name @param {string} value @param {string} what */
function number(name, value, what) {
  return make("div", {}, make("dt", {}, name), make("dd", { class: "value" }, value), make("dd", { class: "what" }, what));
}
