/** Queues: which property comes next and why, and the lease that keeps others off it meanwhile. */

import { call, callOnLeaving } from "./api.js";
import { element, make } from "./dialogs.js";
import { randomKey } from "./storage.js";

/** @typedef {import("./panel.js").Panel} Panel */
/** @typedef {"list" | "teaching" | "audit"} Queue */

/**
 * @typedef {object} Lease
 * @property {number} property_key
 * @property {string} reviewer
 * @property {Queue} queue
 * @property {string} leased_until ISO 8601
 * @property {boolean} is_mine
 */

// While the reviewer works a lease is renewed; without a key or a click it ends.
const RENEW_MS = 60_000;
const MOST_SKIPPED = 1000;

/** @type {Record<Queue, string[]>} the parts of the filter that a queue does not have */
const UNUSED = { list: [], teaching: ["state"], audit: ["label", "state", "source", "run"] };

export class Queues {
  /** @param {Panel} panel @param {string} reviewer */
  constructor(panel, reviewer) {
    this.panel = panel;
    this.reviewer = reviewer;
    /** The holder of the leases: this page, until it is closed or loaded again. */
    this.holder = randomKey();
    /** @type {Lease | null} that of the property at hand, once it is known */
    this.lease = null;
    /** @type {number | null} the property that the server has leased to this page */
    this.held = null;
    /** @type {Promise<unknown>} what is asked of the server about leases */
    this.leasing = Promise.resolve();
    this.renewedAt = 0;
    /** @type {number[]} what has come from the teaching or the audit queue already */
    this.skipped = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.ending = undefined;
    /** @type {{words: string, about: number | null}} */
    this.reason = { words: "", about: null };
    const queue = /** @type {HTMLSelectElement} */ (element("#filter select[name=queue]"));
    queue.disabled = !panel.canReview;
    for (const name of ["keydown", "pointerdown", "wheel"])
      addEventListener(name, () => this.renewIfOld(), { passive: true });
    addEventListener("pagehide", () => this.leave());
    addEventListener("pageshow", (event) => event.persisted && void this.renew());
  }

  /** @returns {Queue} */
  queue() {
    const select = /** @type {HTMLSelectElement} */ (element("#filter select[name=queue]"));
    return /** @type {Queue} */ (select.value);
  }

  /** @param {Queue} queue */
  choose(queue) {
    /** @type {HTMLSelectElement} */ (element("#filter select[name=queue]")).value = queue;
    this.begin();
  }

  /** The reviewer has chosen another queue or filter: say which parts of the filter it has. */
  begin() {
    this.forget();
    this.panel.workList.keep();
    const queue = this.queue();
    const unused = UNUSED[queue];
    for (const select of element("#filter").querySelectorAll("select"))
      select.disabled = unused.includes(select.name) || (select.name === "queue" && !this.panel.canReview);
  }

  /** What there is to say at the end of the queue. */
  atEnd() {
    if (this.queue() !== "teaching" || !this.skipped.length)
      return this.panel.property
        ? "no further property is like this, or others have the rest open"
        : "no property matches the filter, or others have them open: choose another filter or queue";
    this.forget();
    return "nothing else is left to teach; W begins again with what you passed over";
  }

  /** Begin with the queue as if nothing had been passed over. */
  forget() {
    this.skipped = [];
  }

  async showRuns() {
    const { county } = this.panel.workList.filter();
    const select = /** @type {HTMLSelectElement} */ (element("#filter select[name=run]"));
    if (!county || select.dataset["county"] === county) return;
    select.dataset["county"] = county;
    const runs = await call("GET", `/v1/review/runs?${new URLSearchParams({ county })}`);
    select.replaceChildren(
      make("option", { value: "" }, "any"),
      ...runs.map((/** @type {any} */ each) => {
        const day = new Date(each.started_at).toLocaleDateString();
        return make("option", { value: String(each.id) }, `${each.id}: ${each.segmenter}, ${day}`);
      }),
    );
  }

  /**
   * The next of the queue, which is leased; its `key` is null at the end.
   *
   * @param {number} after the key of the property at hand, in the list
   * @returns {Promise<any>}
   */
  async next(after) {
    const queue = this.queue();
    const { run, ...filter } = this.panel.workList.filter();
    const wanted = Object.fromEntries(Object.entries(filter).filter(([, value]) => value));
    const body = {
      ...wanted,
      ...(run ? { run: Number(run) } : {}),
      holder: this.holder,
      ...(queue === "list" ? { after } : { skip: this.skipped.slice(-MOST_SKIPPED) }),
    };
    const found = await this.oneByOne(() => call("POST", `/v1/review/queues/${queue}/next`, body));
    if (found.key !== null) {
      this.skipped.push(queue === "audit" ? found.item_id : found.key);
      this.held = found.key; // the server has released the others
      this.show(found.lease);
      this.renewedAt = Date.now();
    }
    return found;
  }

  /**
   * One question about leases after the other: a lease that is answered after its release would stay, and keep
   * others off the property.
   *
   * @template T @param {() => Promise<T>} ask @returns {Promise<T>}
   */
  oneByOne(ask) {
    const turn = this.leasing.then(ask);
    this.leasing = turn.catch(() => {});
    return turn;
  }

  /** A property is opened: take its lease, or learn who has it. @param {number} key */
  async opened(key) {
    if (this.lease?.property_key === key && this.lease.is_mine) return;
    this.show(null);
    if (!this.panel.canReview) return;
    await this.oneByOne(async () => {
      if (this.panel.leaseKey() !== key) return; // the reviewer has gone on
      const before = this.held;
      await this.take(key);
      if (before !== null && before !== key) await this.end(before);
    });
  }

  /** @param {number} key */
  async take(key) {
    this.renewedAt = Date.now();
    const body = { property_key: key, holder: this.holder, queue: this.queue() };
    const lease = await call("POST", "/v1/review/leases", body);
    if (lease.is_mine) this.held = key;
    if (this.panel.leaseKey() === key) this.show(lease);
  }

  /** @param {number} key */
  async end(key) {
    if (this.held === key) this.held = null;
    await call("DELETE", `/v1/review/leases/${key}?holder=${this.holder}`);
  }

  renewIfOld() {
    if (Date.now() - this.renewedAt < RENEW_MS) return;
    this.renewedAt = Date.now();
    void this.renew();
  }

  async renew() {
    if (!this.panel.canReview) return;
    try {
      await this.oneByOne(async () => {
        const key = this.panel.leaseKey();
        if (key !== null) await this.take(key);
      });
    } catch {
      // the server is away: decisions say so
    }
  }

  /** The reviewer has no property open any more. */
  async release() {
    this.show(null);
    await this.oneByOne(async () => {
      if (this.held !== null) await this.end(this.held);
    });
  }

  /** Others need not wait until the lease ends. */
  leave() {
    if (this.held !== null) callOnLeaving("DELETE", `/v1/review/leases/${this.held}?holder=${this.holder}`);
  }

  /** @param {Lease | null} lease */
  show(lease) {
    this.lease = lease;
    clearTimeout(this.ending);
    const line = element("#lease");
    line.classList.toggle("warning", lease !== null && !lease.is_mine);
    line.textContent = lease === null ? "" : this.words(lease);
    if (lease === null) return;
    const left = new Date(lease.leased_until).getTime() - Date.now();
    this.ending = setTimeout(() => this.ended(), Math.max(0, left));
  }

  ended() {
    element("#lease").classList.remove("warning");
    element("#lease").textContent = this.lease?.is_mine
      ? "Your lease has ended: others may get this property. It is renewed when you go on."
      : "";
  }

  /** @param {Lease} lease */
  words(lease) {
    const until = new Date(lease.leased_until).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    if (lease.is_mine) return `Yours until ${until}, renewed while you work`;
    const who = lease.reviewer === this.reviewer ? "You have" : `${lease.reviewer} has`;
    const where = lease.reviewer === this.reviewer ? " in another tab or browser" : "";
    return `${who} this property open${where} until ${until}: changes of both are compared before they are saved`;
  }

  /** Why this property comes. @param {string} words @param {number | null} [about] the one object that they are about */
  explain(words, about = null) {
    this.reason = { words, about };
    this.showReason();
  }

  /** What was said about one object stands only while it is selected. */
  showReason() {
    const { words, about } = this.reason;
    const shown = about === null || about === this.panel.selected ? words : "";
    if (element("#reason").textContent !== shown) element("#reason").textContent = shown;
  }
}
