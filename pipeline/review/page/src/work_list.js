/** Which property comes next: the filter of the page, and the properties that were shown. */

import { call } from "./api.js";
import { element, make } from "./dialogs.js";

/** @typedef {import("./types.js").Detection} Detection */
/** @typedef {import("./types.js").Filter} Filter */
/** @typedef {import("./types.js").Property} Property */

const STORE = "lotline-filter-v1";

export class WorkList {
  constructor() {
    /** @type {number[]} keys of the properties that were shown, for the way back */
    this.shown = [];
    /** @type {Map<string, boolean | null>} by county: whether it is generated; null if that is not known */
    this.synthetic = new Map();
  }

  async showCounties() {
    const counties = await call("GET", "/v1/review/counties");
    this.synthetic = new Map(counties.map((/** @type {any} */ each) => [each.county, each.synthetic]));
    const select = /** @type {HTMLSelectElement} */ (element("#filter select[name=county]"));
    const chosen = select.value;
    select.replaceChildren(
      ...counties.map((/** @type {any} */ each) =>
        make("option", { value: each.county }, `${each.county} (${each.fully_reviewed} of ${each.done} fully reviewed)`),
      ),
    );
    if (chosen) select.value = chosen;
  }

  /** @returns {Filter} */
  filter() {
    const data = new FormData(/** @type {HTMLFormElement} */ (element("#filter")));
    const value = (/** @type {string} */ name) => String(data.get(name) ?? "");
    return { county: value("county"), label: value("label"), state: value("state"), source: value("source"), run: value("run") };
  }

  /** Keep what is chosen, with the queue, over a reload of this tab. */
  keep() {
    const chosen = selects().map((each) => [each.name, each.value]);
    try {
      sessionStorage.setItem(STORE, JSON.stringify(Object.fromEntries(chosen)));
    } catch {
      // blocked: a reload begins with the whole list
    }
  }

  /** Choose again what was chosen before a reload; what is no choice any more is left out. */
  restore() {
    const kept = keptFilter();
    for (const select of selects()) {
      const value = kept[select.name];
      if (typeof value !== "string" || select.disabled) continue; // viewers have no queues
      // The labels are offered as properties are shown.
      if (select.name === "label" && value && !hasOption(select, value)) select.append(make("option", { value }, value));
      if (hasOption(select, value)) select.value = value;
    }
  }

  /** The county of the property that is shown is the county of the filter. @param {string} county @returns {boolean} whether it changed */
  goTo(county) {
    const select = selects().find((each) => each.name === "county");
    if (!select || select.value === county || !hasOption(select, county)) return false;
    select.value = county;
    this.keep();
    return true;
  }

  /** Whether an object is one that the filter asks for. @param {Detection} object */
  matches(object) {
    const { label, state, run } = this.filter();
    return (!label || object.label === label) && (!state || object.state === state) && (!run || String(object.run) === run);
  }

  /** The key of the next property like the filter; null if there is none. @param {number} after @returns {Promise<number | null>} */
  async next(after) {
    const wanted = Object.entries(this.filter()).filter(([, value]) => value);
    const query = new URLSearchParams([...wanted, ["after", String(after)]]);
    const { key } = await call("GET", `/v1/review/next?${query}`);
    return key;
  }

  /** Remember a property that is shown. @param {Property} property */
  add(property) {
    if (this.shown.at(-1) !== property.key) this.shown.push(property.key);
  }

  /** The key of the property that was shown before; null at the first. */
  back() {
    if (this.shown.length < 2) return null;
    this.shown.pop();
    return this.shown.at(-1) ?? null;
  }

  /** @param {Property} property */
  offerLabels(property) {
    const select = /** @type {HTMLSelectElement} */ (element("#filter select[name=label]"));
    const known = new Set([...select.options].map((option) => option.value));
    const labels = Object.keys(property.areas_m2).filter((each) => !known.has(each));
    select.append(...labels.map((each) => make("option", { value: each }, each)));
  }
}

function selects() {
  return [...element("#filter").querySelectorAll("select")];
}

/** @param {HTMLSelectElement} select @param {string} value */
function hasOption(select, value) {
  return [...select.options].some((each) => each.value === value);
}

/** @returns {Record<string, unknown>} */
function keptFilter() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORE) ?? "{}");
    return kept !== null && typeof kept === "object" ? kept : {};
  } catch {
    return {}; // blocked, or written by another program
  }
}

/**
 * Be told of a choice in the filter. After one by mouse or finger the keys of the page work at once; by keyboard the
 * focus stays, since each arrow is a choice.
 *
 * @param {() => void} chosen
 */
export function listenToFilter(chosen) {
  const filter = element("#filter");
  let isByPointer = false;
  filter.addEventListener("pointerdown", () => (isByPointer = true));
  filter.addEventListener("keydown", () => (isByPointer = false));
  filter.addEventListener("change", () => {
    if (isByPointer) element("#objects").focus();
    chosen();
  });
}
