"""The retry policy: every reason has one rule, and every rule a row in the docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from parcels.boundary import NoBoundaryReason
from pipeline.store.queue import retry_policy
from pipeline.store.queue.retry_policy import RetryRule

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "batches.md").read_text(encoding="utf-8")
_IN_WORDS = {
    "next run": "in the next run",
    "registry changed": "when the registry entry",
    "on request": "on request",
}


def test_every_no_boundary_reason_has_a_rule() -> None:
    ruled = {
        reason for rule in retry_policy.RULES if rule.state == "failed" for reason in rule.reasons
    }
    assert set(get_args(NoBoundaryReason)) - {"unavailable"} <= ruled


def test_each_reason_has_one_rule() -> None:
    named = [
        (rule.state, reason) for rule in retry_policy.RULES for reason in rule.reasons or ("",)
    ]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("rule", retry_policy.RULES)
def test_docs_have_a_row_for_each_rule(rule: RetryRule) -> None:
    rows = re.findall(rf"^\| `{rule.state}` \| (.*?) \| (.*?) \|", DOCS, re.MULTILINE)
    row = next(
        when
        for reasons, when in rows
        if (not rule.reasons and reasons.startswith("any"))
        or re.findall(r"`(\w+)`", reasons) == list(rule.reasons)
    )
    assert row.startswith(_IN_WORDS[rule.when])
    assert ("three attempts in all" in row) == (rule.attempts == 3)
    assert (rule.attempts or 3) == 3
