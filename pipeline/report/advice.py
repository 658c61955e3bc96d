"""What a person can do: advice per state and reason, and caveats per segmenter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from detection.caveats import segmenter_caveats, untaught_prompts, untested_labels
from pipeline.store.reads.county_status import CountyStatus

_RETRY = "the next run retries"
_FIX_ENTRY = "fix the registry entry, then run again"
_FIX_ROW = "fix its row in the CSV, then run again"

_BY_REASON = {
    ("deferred", "unavailable"): f"the county server did not respond: {_RETRY}",
    ("deferred", "imagery_unavailable"): f"the imagery server did not respond: {_RETRY}",
    ("no_imagery", "missing"): "no imagery there: add some to the registry entry, then run again",
    ("no_imagery", "nodata"): "only nodata pixels there: add other imagery, then run again",
    ("no_imagery", "corrupt"): "the imagery cannot be read: replace it, then --retry-failed",
    ("failed", "misconfigured"): _FIX_ENTRY,
    ("failed", "not_found"): f"the county has no such parcel: {_FIX_ROW}",
    ("failed", "outside_county"): f"it is in another county: {_FIX_ROW}",
    ("failed", "bad_geometry"): "the county's polygon is invalid: report it to the county",
    ("failed", "address_not_found"): f"no geocoder knows the address: {_FIX_ROW}",
    ("failed", "address_ambiguous"): f"the address matches several places: {_FIX_ROW}",
    ("failed", "address_unconfirmed"): f"the address may belong to another place: {_FIX_ROW}",
    ("failed", "too_large"): "the lot needs more chips than allowed: measure parts of it",
    ("failed", "segmenter"): "the segmenter failed: the next runs retry, then --retry-failed",
    ("failed", "crashed"): "two worker processes died on it: see the log, then --retry-failed",
    ("failed", "refused"): "the database rejected the result: see the detail, --retry-failed",
}

_BY_STATE = {
    "deferred": _RETRY,
    "no_imagery": "add imagery to the registry entry, then run again",
    "failed": "see the detail, fix it, then --retry-failed",
}

SYNTHETIC_NOTE = "Synthetic imagery and lots, not a real place."


def what_to_do(state: str, reason: str) -> str:
    """One line of advice; empty where there is nothing to do."""
    return _BY_REASON.get((state, reason)) or _BY_STATE.get(state, "")


def segmenter_notes(segmenters: Sequence[str]) -> list[str]:
    """A sentence per segmenter, with its caveats."""
    return [f"Found by {', '.join([name, *segmenter_caveats(name)])}." for name in segmenters]


def label_notes(labels: Iterable[str], prompts: Mapping[str, str]) -> list[str]:
    """A sentence for the labels that no segmenter was evaluated on; see `untested_labels`."""
    untested = untested_labels(labels, prompts)
    if not untested:
        return []
    named = ", ".join(
        f"{label} ({prompt})" if prompt else label for label, prompt in untested.items()
    )
    return [f"Labels or prompts of your own, whose accuracy is untested: {named}."]


def untaught_notes(segmenters: Sequence[str], prompts: Mapping[str, str]) -> list[str]:
    """A sentence for each segmenter that was not taught one of the prompts."""
    untaught = {name: untaught_prompts(name, prompts.values()) for name in segmenters}
    return [
        f"{name} was not taught {', '.join(unknown)}: it finds nothing, or guesses."
        for name, unknown in untaught.items()
        if unknown
    ]


def caveats(
    segmenters: Sequence[str],
    labels: Iterable[str],
    prompts: Mapping[str, str],
    *,
    synthetic: bool,
) -> list[str]:
    """Every caveat of a set of numbers, a sentence each."""
    notes = [SYNTHETIC_NOTE] if synthetic else []
    notes += [*segmenter_notes(segmenters), *untaught_notes(segmenters, prompts)]
    return [*notes, *label_notes(labels, prompts)]


def county_caveats(status: CountyStatus, *, synthetic: bool) -> list[str]:
    """The caveats of a county's areas."""
    labels = dict.fromkeys(area.label for area in status.areas)
    return caveats(status.segmenters, labels, status.prompts, synthetic=synthetic)
