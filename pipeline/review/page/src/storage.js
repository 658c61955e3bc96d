/**
 * What the browser keeps over a reload. Each entry has a key of its own in localStorage, so two tabs
 * that write at once lose nothing. Where the storage is full or blocked, entries live as long as the
 * page, and the page says so.
 */

/** @type {Map<string, string>} what localStorage did not take */
const memory = new Map();
/** @type {(() => void)[]} */
const listeners = [];

/** Be told when something is kept in this page alone. @param {() => void} listener */
export function onUnsafe(listener) {
  listeners.push(listener);
}

/** Whether something would be lost with this page. */
export function isUnsafe() {
  return memory.size > 0;
}

/** A key that nobody has used; over plain HTTP on a network browsers have no `randomUUID`. */
export function randomKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @template Value Entries of one kind, in the order in which they were added. */
export class KeptEntries {
  /** @param {string} kind e.g. "outbox" */
  constructor(kind) {
    this.prefix = `lotline-${kind}-v2:`;
    /** @type {Map<string, {text: string, value: Value}>} parsed once: an outline may have thousands of vertices */
    this.parsed = new Map();
  }

  /** @returns {[id: string, value: Value][]} */
  all() {
    const ids = [...storedKeys(), ...memory.keys()].filter((key) => key.startsWith(this.prefix));
    /** @type {[string, Value][]} */
    const found = [];
    for (const key of [...new Set(ids)].sort()) {
      const value = this.get(key.slice(this.prefix.length));
      if (value !== undefined) found.push([key.slice(this.prefix.length), value]);
    }
    return found;
  }

  /** @param {string} id @returns {Value | undefined} */
  get(id) {
    try {
      const text = memory.get(this.prefix + id) ?? localStorage.getItem(this.prefix + id);
      if (!text) return undefined;
      const known = this.parsed.get(id);
      if (known?.text === text) return known.value;
      const value = JSON.parse(text);
      this.parsed.set(id, { text, value });
      return value;
    } catch {
      return undefined; // blocked, or written by another program
    }
  }

  /** Add at the end. @param {Value} value @returns {string} its id */
  add(value) {
    const last = this.all().at(-1)?.[0] ?? "0";
    const id = `${String(Number.parseInt(last, 10) + 1).padStart(12, "0")}:${randomKey()}`;
    this.put(id, value);
    return id;
  }

  /** @param {string} id @param {Value} value */
  put(id, value) {
    const text = JSON.stringify(value);
    try {
      localStorage.setItem(this.prefix + id, text);
      memory.delete(this.prefix + id);
    } catch {
      memory.set(this.prefix + id, text);
      for (const listener of listeners) listener();
    }
  }

  /** @param {string} id */
  remove(id) {
    this.parsed.delete(id);
    memory.delete(this.prefix + id);
    try {
      localStorage.removeItem(this.prefix + id);
    } catch {
      // blocked: it was never there
    }
  }

  /** Be told when another tab adds or removes entries. @param {() => void} listener */
  onOtherTab(listener) {
    addEventListener("storage", (event) => {
      if (event.key === null || event.key.startsWith(this.prefix)) listener();
    });
  }
}

/** @returns {string[]} */
function storedKeys() {
  try {
    return Object.keys(localStorage);
  } catch {
    return [];
  }
}
