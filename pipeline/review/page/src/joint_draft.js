/** A draft as decisions, and back: the object itself, what was cut off it, and others that change with it. */

/** @typedef {import("./types.js").Geometry} Geometry */
/** @typedef {import("./decisions.js").JointDecision} JointDecision */

/**
 * Other objects that a draft changes along shared edges, or takes in; each with the version that the reviewer saw.
 *
 * @typedef {object} Companions
 * @property {{id: number, version: number, outline: Geometry}[]} neighbours
 * @property {{id: number, version: number}[]} united
 */

/**
 * @typedef {object} WholeDraft
 * @property {number | null} detection Null for a new object.
 * @property {number | null} version
 * @property {string} label
 * @property {Geometry} outline
 * @property {Geometry[]} cutOff
 * @property {Companions} [companions]
 */

/** What saving a draft stores, its own object first. @param {WholeDraft} draft @returns {JointDecision[]} */
export function decisionsOf({ detection, version, label, outline, cutOff, companions }) {
  const own =
    detection === null
      ? { action: "add", label, geometry: outline }
      : { action: "edit", detection_id: detection, ...(version === null ? {} : { version }), geometry: outline };
  return [
    own,
    ...cutOff.map((geometry) => ({ action: "add", label, geometry })),
    ...(companions?.neighbours ?? []).map((each) => ({
      action: "edit", detection_id: each.id, version: each.version, geometry: each.outline,
    })),
    ...(companions?.united ?? []).map((each) => ({
      action: "delete", detection_id: each.id, version: each.version, note: "united with another object",
    })),
  ];
}

/** The draft that became decisions; null if they have no outline. @param {JointDecision[]} decisions @param {string} label @returns {WholeDraft | null} */
export function draftIn(decisions, label) {
  const [own, ...others] = decisions;
  if (!own?.geometry) return null;
  const companions = { neighbours: /** @type {Companions["neighbours"]} */ ([]), united: /** @type {Companions["united"]} */ ([]) };
  const cutOff = [];
  for (const { action, detection_id: id = 0, version = 0, geometry } of others) {
    if (action === "delete") companions.united.push({ id, version });
    else if (action === "add" && geometry) cutOff.push(geometry);
    else if (geometry) companions.neighbours.push({ id, version, outline: geometry });
  }
  return {
    detection: own.detection_id ?? null,
    version: own.version ?? null,
    label: own.label ?? label,
    outline: own.geometry,
    cutOff,
    companions,
  };
}

/** What a draft does, for people. @param {WholeDraft} draft @param {(id: number) => string} labelOf */
export function titleOf({ detection, label, cutOff, companions }, labelOf) {
  const what = companions?.united.length ? "unite" : cutOff.length ? "split" : detection === null ? "draw" : "edit";
  const along = (companions?.neighbours ?? []).map(({ id }) => labelOf(id));
  return `${what} ${label}${along.length ? `, with ${along.join(" and ")}` : ""}`;
}
