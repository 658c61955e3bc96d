/** The labels that a reviewer may choose from: those of the county, and of the property at hand. */

import { call } from "./api.js";

const STORE = "lotline-last-label";
// A server that hangs must not hold up a label.
const TIMEOUT_MS = 5000;

export class KnownLabels {
  constructor() {
    /** @type {Map<string, Promise<string[]>>} */
    this.byCounty = new Map();
    /** @type {Set<string>} counties whose labels were read */
    this.read = new Set();
    /** @type {Set<string>} labels that the reviewer has made on purpose */
    this.made = new Set();
    this.last = "";
    try {
      this.last = localStorage.getItem(STORE) ?? "";
    } catch {
      // blocked: no label is suggested
    }
  }

  /** @param {import("./types.js").Property} property @returns {Promise<string[]>} */
  async of(property) {
    const here = property.detections.map((each) => each.label);
    const late = new Promise((/** @type {(none: string[]) => void} */ resolve) => setTimeout(() => resolve([]), TIMEOUT_MS));
    const all = await Promise.race([this.ofCounty(property.county), late]);
    return [...new Set([...all, ...here, ...this.made])].sort();
  }

  /** Whether the labels of a county could be read. @param {string} county */
  hasAll(county) {
    return this.read.has(county);
  }

  /** Whether the reviewer has made a label that the county did not have. @param {string} label */
  isNew(label) {
    return this.made.has(label);
  }

  /** @param {string} label */
  allowNew(label) {
    this.made.add(label);
  }

  /** @param {string} county @returns {Promise<string[]>} */
  ofCounty(county) {
    let asked = this.byCounty.get(county);
    if (!asked) {
      asked = call("GET", `/v1/review/labels?${new URLSearchParams({ county })}`).then(
        (labels) => (this.read.add(county), labels),
        () => {
          this.byCounty.delete(county); // asked again next time
          return [];
        },
      );
      this.byCounty.set(county, asked);
    }
    return asked;
  }

  /** The label was refused: it is not suggested again. */
  refused() {
    this.made.delete(this.last);
    this.use("");
  }

  /** Suggest a label next time. @param {string} label */
  use(label) {
    this.last = label;
    try {
      localStorage.setItem(STORE, label);
    } catch {
      // as above
    }
  }
}
