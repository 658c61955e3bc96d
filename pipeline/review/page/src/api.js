/** Calls to the server. A refusal is a `Problem`; no answer at all is a `NoAnswer`. */

/** @typedef {import("./types.js").Session} Session */

/** A refusal of the server, with what it says (RFC 9457). */
export class Problem extends Error {
  /** @param {number} status @param {any} document */
  constructor(status, document) {
    super(document?.detail || `the server answered ${status}`);
    this.status = status;
    this.document = document;
  }
}

/** The server did not answer, or is busy: the same call may succeed later. */
export class NoAnswer extends Error {}

let csrf = "";

/** @returns {Promise<Session>} */
export async function openSession() {
  const session = await call("GET", "/session");
  csrf = session.csrf;
  return session;
}

/** @param {string} token @returns {Promise<Session>} */
export async function signIn(token) {
  const session = await call("POST", "/session", { token });
  csrf = session.csrf;
  return session;
}

/**
 * @param {string} method @param {string} path
 * @param {unknown} [body] @param {string} [idempotencyKey]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, idempotencyKey) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch (error) {
    throw new NoAnswer(`the server does not answer (${error})`);
  }
  if (response.status === 204) return null;
  const text = await response.text();
  let document = null;
  try {
    document = JSON.parse(text);
  } catch {
    // a proxy's page, or a body that was cut off
  }
  if (response.status >= 500 || response.status === 429)
    throw new NoAnswer(document?.detail || `the server answered ${response.status}`);
  if (!response.ok) throw new Problem(response.status, document);
  if (document === null) throw new NoAnswer("the answer was cut off");
  return document;
}
