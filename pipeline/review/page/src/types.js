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
 * @property {number | null} [run] The run that found it; null for what a person drew.
 * @property {string | null} reviewer
 * @property {string | null} reviewed_at
 * @property {string | null} [action] Of the newest decision that is not undone.
 * @property {number | null} [review_id] Of the same.
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
 * @property {number | null} coverage_fraction The share of the boundary that has imagery.
 * @property {boolean | null} is_partly_imaged Whether that is less than all of it.
 * @property {{segmenter: string, caveats: string[]}[]} [measured_by]
 * @property {string[]} [area_notes] What to know before the areas are added, a sentence each.
 * @property {Record<string, number>} areas_m2
 * @property {Detection[]} detections
 * @property {boolean} [can_click_to_mask] Whether its segmenter can be asked about a click.
 * @property {{reviewer: string, created_at: string} | null} [fully_reviewed]
 *
 * @typedef {{reviewer: string | null, role: string | null, csrf: string, is_local: boolean}} Session
 *
 * @typedef {object} Event An event in the history of a detection.
 * @property {number} id
 * @property {string} action
 * @property {string} reviewer
 * @property {string} note
 * @property {string} created_at
 * @property {{state: string, label: string}} before
 * @property {{state: string, label: string}} after
 * @property {number | null} [undoes] The event that an undo takes back.
 * @property {{before_m2: number, after_m2: number, changed_m2: number} | null} [outline] Of an edit.
 *
 * @typedef {{county: string, label: string, state: string, source: string, run: string}} Filter
 */
export {};
