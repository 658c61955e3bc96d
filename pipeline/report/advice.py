"""What a person can do about a property that has no result, in one line for each reason."""

from __future__ import annotations

_RETRY = "the next run asks again"
_MEND_ENTRY = "mend the registry entry, then run again"
_MEND_ROW = "mend its row in the CSV, then run again"

_BY_REASON = {
    ("deferred", "unavailable"): f"the county's server did not answer: {_RETRY}",
    ("deferred", "imagery_unavailable"): f"the imagery's server did not answer: {_RETRY}",
    (
        "no_imagery",
        "missing",
    ): "no imagery covers it: add some to the registry entry, then run again",
    ("no_imagery", "nodata"): "the imagery is empty there: add other imagery, then run again",
    ("no_imagery", "corrupt"): "the imagery cannot be read: replace it, then --retry-failed",
    ("failed", "misconfigured"): _MEND_ENTRY,
    ("failed", "not_found"): f"the county has no such parcel: {_MEND_ROW}",
    ("failed", "outside_county"): f"it lies in another county: {_MEND_ROW}",
    ("failed", "bad_geometry"): "the county's polygon is broken: report it to the county",
    ("failed", "address_not_found"): f"nobody knows the address: {_MEND_ROW}",
    ("failed", "address_ambiguous"): f"the address is of several places: {_MEND_ROW}",
    ("failed", "address_unconfirmed"): f"the address may be of another place: {_MEND_ROW}",
    ("failed", "too_large"): "it needs more chips than a lot may: measure its parts",
    (
        "failed",
        "segmenter",
    ): "the segmenter failed on it: the next runs try again, then --retry-failed",
    ("failed", "crashed"): "a process died over it twice: see the log, then --retry-failed",
    ("failed", "refused"): "the database refused what was found: see the detail, --retry-failed",
}

_BY_STATE = {
    "deferred": _RETRY,
    "no_imagery": "add imagery to the registry entry, then run again",
    "failed": "see the detail, mend it, then --retry-failed",
}


def what_to_do(state: str, reason: str) -> str:
    """One line for a state and reason; empty where nothing is amiss."""
    return _BY_REASON.get((state, reason)) or _BY_STATE.get(state, "")
