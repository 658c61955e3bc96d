/**
 * What the API sends; see `pipeline/review/routes`.
 *
 * @typedef {{type: string, coordinates: any}} Geometry GeoJSON, degrees.
 *
 * @typedef {object} Detection
 * @property {number} id
 * @property {string} label
 * @property {"proposed" | "accepted" | "rejected"} state
 * @property {number} score
 * @property {number} version
 * @property {string} segmenter
 * @property {number} area_m2
 * @property {number} clipped_area_m2
 * @property {boolean} is_reviewed
 * @property {string | null} reviewer
 * @property {string | null} reviewed_at
 * @property {Geometry} geometry
 *
 * @typedef {object} Property
 * @property {number} key
 * @property {string} county
 * @property {string} property_id
 * @property {string} state
 * @property {string} reason
 * @property {string | null} address
 * @property {"lot" | "buffer_30m" | null} source
 * @property {Geometry | null} boundary
 * @property {number | null} boundary_area_m2
 * @property {string | null} captured_on
 * @property {number | null} gsd_m
 * @property {Record<string, number>} areas_m2
 * @property {Detection[]} detections
 *
 * @typedef {{reviewer: string | null, role: string | null, csrf: string, is_local: boolean}} Session
 *
 * @typedef {object} Event An event in the history of a detection.
 * @property {string} action
 * @property {string} reviewer
 * @property {string} note
 * @property {string} created_at
 *
 * @typedef {{county: string, label: string, state: string, source: string}} Filter
 */
export {};
