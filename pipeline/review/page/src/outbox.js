/**
 * Decisions that are on their way: kept in the browser until the server has answered, and sent in
 * order, each with its own key, so that a reload or an outage loses none and repeats none.
 */

import { NoAnswer, Problem, call } from "./api.js";

/**
 * @typedef {object} Item
 * @property {string} key The idempotency key.
 * @property {string} reviewer Who decided; another reviewer of this browser does not send it.
 * @property {string} path
 * @property {any} body
 * @property {string} what For people.
 */

const STORE = "lotline-outbox-v1";
const RETRY_MS = 3000;

export class Outbox {
  /**
   * @param {string} reviewer
   * @param {{saved: (item: Item, answer: any) => void, refused: (item: Item, problem: Problem) => void,
   *   waiting: (count: number, why: string) => void}} tell
   */
  constructor(reviewer, tell) {
    this.reviewer = reviewer;
    this.tell = tell;
    this.isSending = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    addEventListener("online", () => this.send());
  }

  /** @returns {Item[]} */
  items() {
    try {
      const all = JSON.parse(localStorage.getItem(STORE) ?? "[]");
      return Array.isArray(all) ? all : [];
    } catch {
      return [];
    }
  }

  /** How many decisions for this path are on their way. @param {string} path */
  countOf(path) {
    return this.items().filter((each) => each.path === path).length;
  }

  /** @param {Item[]} items */
  keep(items) {
    localStorage.setItem(STORE, JSON.stringify(items));
  }

  /** @param {string} path @param {any} body @param {string} what */
  add(path, body, what) {
    const item = { key: crypto.randomUUID(), reviewer: this.reviewer, path, body, what };
    this.keep([...this.items(), item]);
    return this.send();
  }

  /** Send what waits, oldest first; stop at the first that gets no answer. */
  async send() {
    if (this.isSending) return;
    this.isSending = true;
    clearTimeout(this.timer);
    let why = "";
    try {
      for (;;) {
        const item = this.items().find((each) => each.reviewer === this.reviewer);
        if (!item) break;
        try {
          const answer = await call("POST", item.path, item.body, item.key);
          this.remove(item);
          this.tell.saved(item, answer);
        } catch (error) {
          if (error instanceof Problem && error.status !== 401 && error.status !== 403) {
            this.remove(item);
            this.tell.refused(item, error);
          } else {
            why = error instanceof Error ? error.message : String(error);
            if (!(error instanceof NoAnswer) && !(error instanceof Problem)) throw error;
            this.timer = setTimeout(() => this.send(), RETRY_MS);
            break;
          }
        }
      }
    } finally {
      this.isSending = false;
      const mine = this.items().filter((each) => each.reviewer === this.reviewer);
      this.tell.waiting(mine.length, why);
    }
  }

  /** @param {Item} done */
  remove(done) {
    this.keep(this.items().filter((each) => each.key !== done.key));
  }
}
