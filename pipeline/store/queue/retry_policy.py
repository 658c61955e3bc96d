"""When a property that has no result is looked at again: the one place that decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# By itself in the next run; by itself once the county's registry entry is another; or only when
# a person asks for it.
RetryWhen = Literal["next run", "registry changed", "on request"]


@dataclass(frozen=True, slots=True)
class RetryRule:
    """What is done about properties in a state, for some reasons.

    Attributes:
        reasons: empty for any.
        attempts: how often a property is looked at in all before a person must ask for it; None
            for ever.
    """

    state: Literal["deferred", "failed", "no_imagery"]
    reasons: tuple[str, ...]
    when: RetryWhen
    attempts: int | None = None


# A run never looks twice at a property: waiting is done between runs.
RULES = (
    # A server was down, which says nothing of the property; it costs one question to find out.
    RetryRule("deferred", (), "next run"),
    # A crash or a lack of memory may pass, or be that of this property: not for ever.
    RetryRule("failed", ("segmenter",), "next run", attempts=3),
    # What the county or the entry said; neither says anything else until it is changed.
    RetryRule(
        "failed",
        (
            "misconfigured",
            "not_found",
            "outside_county",
            "bad_geometry",
            "address_not_found",
            "address_ambiguous",
            "address_unconfirmed",
        ),
        "registry changed",
    ),
    RetryRule("no_imagery", (), "registry changed"),
    # Of the property's own shape and of what was found in it: the same would come again.
    RetryRule("failed", ("too_large", "refused"), "on request"),
)


def condition(when: RetryWhen) -> str:
    """What `lotline.property p` must meet to be looked at again then. Binds nothing."""
    return " OR ".join(_condition(rule) for rule in RULES if rule.when == when)


def _condition(rule: RetryRule) -> str:
    parts = [f"p.state = '{rule.state}'"]
    if rule.reasons:
        parts.append("p.reason IN ({})".format(", ".join(f"'{name}'" for name in rule.reasons)))
    if rule.attempts is not None:
        parts.append(f"p.attempts < {rule.attempts}")
    return "({})".format(" AND ".join(parts))
