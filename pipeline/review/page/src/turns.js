/**
 * One tab at a time, each of which sees all that the one before has kept.
 *
 * A Web Lock alone does not give that: a browser tells the other tabs of a change to localStorage a moment
 * later, so the next tab may still read what the last one has removed. IndexedDB has no such delay. Each
 * turn ends with the same mark in both, and the next one begins when localStorage has it: changes arrive
 * in order, so all others are there too.
 */

import { randomKey } from "./storage.js";

const DATABASE = "lotline-turns";
const MARKS = "marks";
// A mark that does not come was lost, e.g. with a browser that was killed before it wrote localStorage.
const MOST_MS = 2000;

/**
 * Run while no other tab runs anything of this name; without Web Locks, at once.
 *
 * @template T @param {string} name @param {() => Promise<T>} run @returns {Promise<T>}
 */
export async function inTurn(name, run) {
  if (!navigator.locks) return run();
  return navigator.locks.request(name, async () => {
    await seeLastTurn(name);
    try {
      return await run();
    } finally {
      await endTurn(name);
    }
  });
}

/** @param {string} name */
async function seeLastTurn(name) {
  const mark = await atMost(inMarks("readonly", (marks) => marks.get(name)));
  if (typeof mark !== "string") return;
  const isThere = () => storedMark(name) === mark;
  if (isThere()) return;
  const waiting = new AbortController();
  await atMost(
    new Promise((resolve) => {
      addEventListener("storage", () => isThere() && resolve(null), { signal: waiting.signal });
    }),
  );
  waiting.abort();
}

/** @param {string} name */
async function endTurn(name) {
  const mark = randomKey();
  try {
    localStorage.setItem(keyOf(name), mark);
  } catch {
    return; // full or blocked: nobody may wait for this mark
  }
  await atMost(inMarks("readwrite", (marks) => marks.put(mark, name)));
}

/** @param {string} name */
function storedMark(name) {
  try {
    return localStorage.getItem(keyOf(name));
  } catch {
    return null;
  }
}

/** @param {string} name */
function keyOf(name) {
  return `lotline-turn:${name}`;
}

/** @type {Promise<IDBDatabase> | undefined} */
let opened;

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(MARKS);
    request.onsuccess = () => {
      request.result.onclose = () => (opened = undefined); // by the browser, e.g. when its data was cleared
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
}

/**
 * @param {IDBTransactionMode} mode @param {(marks: IDBObjectStore) => IDBRequest} ask
 * @returns {Promise<unknown>} the answer, once the transaction is complete
 */
async function inMarks(mode, ask) {
  opened ??= open();
  const transaction = (await opened).transaction(MARKS, mode);
  const request = ask(transaction.objectStore(MARKS));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

/**
 * What comes of a promise; null if that takes too long or fails: without the mark a decision may be sent
 * twice, which its key makes harmless, but it must not stay unsent.
 *
 * @param {Promise<unknown>} promise @returns {Promise<unknown>}
 */
async function atMost(promise) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, MOST_MS, null)));
  const answer = await Promise.race([promise.catch(() => null), late]);
  clearTimeout(timer);
  return answer;
}
