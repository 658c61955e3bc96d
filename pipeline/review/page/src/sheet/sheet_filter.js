/** Which detections a sheet shows: the fields of the page, kept in its address. */

import { call } from "../api.js";
import { element, make } from "../dialogs.js";

/** @typedef {{label: string, state: string, detections: number}} SheetLabel */

export class SheetFilter {
  constructor() {
    this.form = /** @type {HTMLFormElement} */ (element("#filter"));
    /** @type {SheetLabel[]} */
    this.labels = [];
  }

  async start() {
    const counties = await call("GET", "/v1/review/counties");
    this.select("county").replaceChildren(
      ...counties.map((/** @type {{county: string}} */ each) => make("option", { value: each.county }, each.county)),
    );
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const name of ["county", "state", "sort"]) this.choose(name, wanted.get(name));
    for (const field of this.form.querySelectorAll("input")) field.value = wanted.get(field.name) ?? "";
    await this.offerLabels();
    this.choose("label", wanted.get("label"));
  }

  /** Offer the labels of the county that have detections in this state; the chosen one stays if it can. */
  async offerLabels() {
    const county = this.select("county").value;
    if (!county) return;
    const chosen = this.select("label").value;
    this.labels = await call("GET", `/v1/review/sheet/labels?${new URLSearchParams({ county })}`);
    const offered = this.labels.filter((each) => each.state === this.select("state").value);
    this.select("label").replaceChildren(
      ...offered.map((each) => make("option", { value: each.label }, `${each.label} (${each.detections.toLocaleString("en")})`)),
    );
    this.choose("label", chosen);
  }

  /** The query of a sheet; null if there is no label to show. @returns {URLSearchParams | null} */
  query() {
    const values = [...new FormData(this.form)].map(([name, value]) => [name, String(value)]);
    const query = new URLSearchParams(values.filter(([, value]) => value));
    history.replaceState(null, "", `#${query}`);
    return query.has("county") && query.has("label") ? query : null;
  }

  /** Whether every field can be used; the browser says which one cannot. */
  isValid() {
    return this.form.reportValidity();
  }

  get byScore() {
    return this.select("sort").value.endsWith("score");
  }

  /** @param {string} name */
  select(name) {
    return /** @type {HTMLSelectElement} */ (element(`#filter select[name=${name}]`));
  }

  /** @param {string} name @param {string | null} value */
  choose(name, value) {
    const select = this.select(name);
    if ([...select.options].some((option) => option.value === value)) select.value = value ?? "";
  }
}
