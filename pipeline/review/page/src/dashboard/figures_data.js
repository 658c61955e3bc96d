/**
 * What `GET /v1/review/counties/{county}/dashboard` sends; see `pipeline/review/routes/dashboard.py`.
 *
 * @typedef {{estimate: number | null, low: number, high: number}} Interval
 *
 * @typedef {object} LabelOutcomes
 * @property {string} label
 * @property {number} undecided
 * @property {number} accepted
 * @property {number} edited
 * @property {number} relabelled
 * @property {number} rejected
 * @property {number} deleted
 * @property {number} drawn
 *
 * @typedef {object} AuditRate
 * @property {string | null} label
 * @property {number} sampled
 * @property {number} answered
 * @property {number} decided
 * @property {number} correct
 * @property {number} wrong
 * @property {number} outline
 * @property {number} wrong_label
 * @property {number} unsure
 * @property {Interval} precision
 * @property {{bias: number, absolute: number, low: number | null, high: number | null} | null} area
 *
 * @typedef {object} Audit
 * @property {AuditRate} overall
 * @property {AuditRate[]} by_label
 * @property {{pairs: number, unsure: number, share: Interval, kappa: number | null}} agreement
 * @property {number} second_wanted
 * @property {number} second_given
 *
 * @typedef {{low: number, high: number, decided: number, mean_score: number | null, correct: Interval}} CalibrationBin
 *
 * @typedef {{begin: string, reviews: number, reviewers: number, reviewer_hours: number, reviews_per_hour: number | null}} Period
 *
 * @typedef {object} Pace
 * @property {number} timed_reviews
 * @property {number} sessions
 * @property {Interval | null} reviews_per_hour
 * @property {Interval | null} hours_left
 * @property {Period[]} by_day
 * @property {Period[]} by_hour
 * @property {number} min_sessions
 * @property {number} min_reviews
 *
 * @typedef {object} Progress
 * @property {Record<string, number>} properties_by_state
 * @property {number} properties_undecided
 * @property {number} properties_decided
 * @property {number} properties_fully_reviewed
 * @property {LabelOutcomes[]} labels
 *
 * @typedef {object} CountyFigures
 * @property {string} county
 * @property {string} generated_at
 * @property {boolean | null} synthetic Whether the county is generated; null if that is not known.
 * @property {string[]} segmenters
 * @property {Progress} progress
 * @property {number} undecided
 * @property {Audit | null} audit
 * @property {CalibrationBin[] | null} calibration
 * @property {Pace} pace
 * @property {number} min_decided
 */
export {};
