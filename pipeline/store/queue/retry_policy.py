"""When a property without a result is tried again: one rule for each state and reason.

To add a reason for `failed`, add it to the rule in `RULES` that applies. The reasons come from:

- `parcels.boundary.NoBoundaryReason`: the boundary lookup (not_found, outside_county, …);
- `detection.inference` (segmenter) and `detection.chip_plan` (too_large);
- `pipeline.store.results.writer`: a lot that the database refuses (refused).

Then add it to the table in docs/batches.md; tests/unit/test_retry_policy.py checks both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# "next run": every later run. "registry changed": a later run, once the county's registry entry
# has changed. "on request": only with --retry-failed or --again.
RetryWhen = Literal["next run", "registry changed", "on request"]


@dataclass(frozen=True, slots=True)
class RetryRule:
    """When properties in a state, for some reasons, are tried again.

    Attributes:
        reasons: empty means any.
        attempts: maximum number of attempts before a retry must be requested; None means no limit.
    """

    state: Literal["deferred", "failed", "no_imagery"]
    reasons: tuple[str, ...]
    when: RetryWhen
    attempts: int | None = None


# A run never processes a property twice: retries happen in later runs.
RULES = (
    # A server was down, which is independent of the property; a retry costs one request.
    RetryRule("deferred", (), "next run"),
    # A crash or lack of memory may be temporary, or caused by this property: limited attempts.
    RetryRule("failed", ("segmenter",), "next run", attempts=3),
    # Determined by the county's data and its registry entry: the same until the entry changes.
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
    # Determined by the property's own shape or result: a retry would fail in the same way.
    RetryRule("failed", ("too_large", "refused"), "on request"),
)


def condition(when: RetryWhen) -> str:
    """SQL condition on `lotline.property p`: it is tried again then. Has no bind parameters."""
    return " OR ".join(_condition(rule) for rule in RULES if rule.when == when)


def _condition(rule: RetryRule) -> str:
    parts = [f"p.state = '{rule.state}'"]
    if rule.reasons:
        parts.append("p.reason IN ({})".format(", ".join(f"'{name}'" for name in rule.reasons)))
    if rule.attempts is not None:
        parts.append(f"p.attempts < {rule.attempts}")
    return "({})".format(" AND ".join(parts))
