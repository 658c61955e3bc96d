/** Calls to the server. A refusal is a `Problem`; no answer at all is a `NoAnswer`. */

/** @typedef {import("./types.js").Session} Session */

/** A refusal of the server, with what it says (RFC 9457). */
export class Problem extends Error {
  /** @param {number} status @param {any} document */
  constructor(status, document) {
    super(wordsOf(document) || `the server answered ${status}`);
    this.status = status;
    this.document = document;
  }
}

/** What a refusal says; where in the request a fault is, people cannot see. @param {any} document @returns {string} */
function wordsOf(document) {
  /** @type {{what: string}[]} */
  const faults = document?.faults ?? [];
  return faults.map(({ what }) => what).join("; ") || document?.detail || "";
}

/** The server did not answer, or is busy: the same call may succeed later. */
export class NoAnswer extends Error {
  /** @param {string} message @param {number} [status] of an answer that is a failure of the server */
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

// A server that has stopped answering is asked again later.
const TIMEOUT_MS = 60_000;

let csrf = "";
/** @type {string | null} who is signed in, as this page knows */
let reviewer = null;
/** Asks the reviewer to sign in again; whether they did. */
let signInAgain = async () => false;

/** @param {() => Promise<boolean>} ask called when a session has ended in mid-work */
export function onSessionEnd(ask) {
  signInAgain = ask;
}

/** @returns {Promise<Session>} */
export async function openSession() {
  return adopt(await send("GET", "/session"));
}

/** @param {string} token @returns {Promise<Session>} */
export async function signIn(token) {
  return adopt(await send("POST", "/session", { token }));
}

/** End the session; what waits in the browser stays there. */
export async function signOut() {
  await send("DELETE", "/session");
}

/** @param {Session} session */
function adopt(session) {
  csrf = session.csrf;
  reviewer = session.reviewer;
  return session;
}

/** Fetch the anti-forgery value again; another tab may have signed somebody else in. */
async function renewValue() {
  const session = await send("GET", "/session");
  if (session.reviewer !== reviewer)
    throw new NoAnswer(`${session.reviewer ?? "nobody"} is signed in now in this browser, not ${reviewer}: reload the page`);
  adopt(session);
}

/**
 * Call the server, in a session: one that has ended is begun again, and the anti-forgery value of a
 * server that was started anew is fetched.
 *
 * @param {string} method @param {string} path
 * @param {unknown} [body] @param {string} [idempotencyKey]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, idempotencyKey) {
  try {
    return await send(method, path, body, idempotencyKey);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const isEnded = error.status === 401;
    const isOldValue = error.status === 403 && method !== "GET";
    if (!isEnded && !isOldValue) throw error;
    if (isEnded && !(await signInAgain())) throw error;
    if (isOldValue) await renewValue();
    return await send(method, path, body, idempotencyKey);
  }
}

/** A call whose answer nobody waits for, sent also while the page is closed. @param {string} method @param {string} path */
export function callOnLeaving(method, path) {
  void fetch(path, { method, headers: { "X-CSRF-Token": csrf }, keepalive: true }).catch(() => {});
}

/**
 * @param {string} method @param {string} path
 * @param {unknown} [body] @param {string} [idempotencyKey]
 * @returns {Promise<any>}
 */
async function send(method, path, body, idempotencyKey) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  let response, text;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await response.text();
  } catch (error) {
    throw new NoAnswer(`the server does not answer (${error instanceof Error ? error.message : error})`);
  }
  if (response.status === 204) return null;
  let document = null;
  try {
    document = JSON.parse(text);
  } catch {
    // a proxy's page, or a body that was cut off
  }
  if (response.status >= 500 || response.status === 429)
    throw new NoAnswer(document?.detail || `the server answered ${response.status}`, response.status);
  if (!response.ok) throw new Problem(response.status, document);
  if (document === null) throw new NoAnswer("the answer was cut off");
  return document;
}
