"""Which figures of an audit may be shown: what rests on too few answers is withheld, and says why.

The rule of the dashboard, for everything else that shows these figures.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pipeline.store.reviews.audit_results import AuditRate, AuditResults
from pipeline.store.reviews.audit_statistics import MIN_DECIDED, ReviewerAgreement


def too_few(count: int) -> str:
    """Why a share of so many decided items is not shown; empty if it is."""
    if count == 0:
        return "no answer yet"
    return f"too few (n = {count})" if count < MIN_DECIDED else ""


def area_reason(rate: AuditRate) -> str:
    """Why an error of areas is not shown; empty if it is."""
    if reason := too_few(rate.decided):
        return reason
    if rate.area is not None and rate.area.low is not None and rate.area.high is not None:
        return ""
    if rate.outline == 0:
        return "no outline was corrected"
    return "too few corrected outlines, or a stratum without an answer"


def audit_figures(results: AuditResults) -> dict[str, Any]:
    """The results as JSON: a figure that may not be shown is null, with a `reason` beside."""
    document = asdict(results)
    document["overall"] = _rate(results.overall)
    for name in ("by_label", "by_source", "strata"):
        document[name] = [_rate(each) for each in getattr(results, name)]
    document["agreement"] = _agreement(results.agreement)
    document["min_decided"] = MIN_DECIDED
    return document


def _rate(rate: AuditRate) -> dict[str, Any]:
    document = asdict(rate)
    reason = too_few(rate.decided)
    for name in ("precision", "exactness"):
        document[name] = _figure(document[name], reason)
    area = document["area"] or dict.fromkeys(("bias", "absolute", "low", "high"))
    document["area"] = _figure(area, area_reason(rate))
    return document


def _agreement(agreement: ReviewerAgreement) -> dict[str, Any]:
    document = asdict(agreement)
    reason = too_few(agreement.pairs)
    kappa = None if reason else agreement.kappa
    return {**document, "share": _figure(document["share"], reason), "kappa": kappa}


def _figure(figure: dict[str, Any], reason: str) -> dict[str, Any]:
    """A figure with the reason why it is not known; null if it is."""
    if reason:
        return {**dict.fromkeys(figure), "reason": reason}
    return {**figure, "reason": None}
