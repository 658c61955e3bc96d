"""Correctness of address matching on a table of pairs, and of the lot that a lookup returns."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Result, save
from parcels import Lot, NotLocated
from parcels.addresses.matching import address_key
from parcels.addresses.site import SiteAddress

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
from addresspairs import (  # noqa: E402
    AddressPair,
    address_pairs,
    by_wanted,
    look_up,
    matching_verdict,
    with_verdict,
)

PEER = "usaddress-scourgify"
# Pairs that were written after the matcher; those that agreed at the first run; the mistakes in the
# verdicts among the others.
LATER_PAIRS, AGREED_AT_FIRST, WRONG_VERDICTS = 466, 441, 6


@dataclass
class Lookups:
    """The lookups of a group and their outcomes."""

    total: int = 0
    right: int = 0
    wrong_lot: int = 0


def run() -> None:
    pairs = address_pairs()
    groups = sorted({pair.group for pair in pairs})
    rows = [_row(group, [pair for pair in pairs if pair.group == group]) for group in groups]
    save(
        Result(
            name="addresses",
            order=41,
            title="Matching addresses, and the lots that they find",
            command="python -m benchmarks addresses",
            columns=[
                "pattern", "pairs", "precision", "recall", "ambiguous recall",
                f"{PEER}: precision", "recall", "lookups", "right", "wrong lot",
            ],
            rows=[*rows, _row("all", pairs)],
            notes=_notes(pairs),
        )
    )  # fmt: skip


def _notes(pairs: Sequence[AddressPair]) -> list[str]:
    states = {pair.state for pair in pairs if len(pair.state) == 2}
    verdicts = ", ".join(
        f"{len(with_verdict(pairs, verdict)):,} {verdict}"
        for verdict in ("same", "different", "ambiguous")
    )
    return [
        f"`tests/unit/address_pairs.csv`: {len(pairs):,} pairs of a wanted address and a county's "
        f"site address, patterns of {len(states)} states and territories, with a person's verdict: "
        f"{verdicts}. Ambiguous: one of them leaves out a direction, a suffix or the kind of a "
        "highway, so it may be another address.",
        "Precision: of the pairs matched as the same, those that are. Recall: of the pairs that "
        "are the same, those matched so. Ambiguous recall: of the ambiguous pairs, those reported "
        "so.",
        f"{PEER} {importlib.metadata.version(PEER)}: both sides normalized by "
        "`normalize_address_record`, the same if the first lines are equal.",
        "Lookups: the lots of a wanted address lie around a point in the street, the wrong ones "
        "nearest, and are looked up by a given point, by an interpolated one, and by the address "
        "alone. Right: the lot that is the same; ambiguous, with the addresses, if only ambiguous "
        "ones are there; and no lot if all are different.",
        "The verdicts were written before the code ran on them, and the code was then corrected "
        f"where it disagreed: of {LATER_PAIRS} pairs that were written after the matcher, "
        f"{AGREED_AT_FIRST} agreed at first; in {WRONG_VERDICTS} of the others the verdict was "
        "wrong. The table measures the patterns in it, not the addresses of a county.",
    ]


def _row(name: str, pairs: Sequence[AddressPair]) -> list[str]:
    ours = [matching_verdict(pair) for pair in pairs]
    peer = ["same" if _peer_says_same(pair) else "different" for pair in pairs]
    ambiguous = [
        found == "ambiguous"
        for pair, found in zip(pairs, ours, strict=True)
        if pair.verdict == "ambiguous"
    ]
    lookups = _lookups(pairs)
    return [
        name, f"{len(pairs):,}", *_precision_and_recall(pairs, ours), _share(ambiguous),
        *_precision_and_recall(pairs, peer), f"{lookups.total:,}", f"{lookups.right:,}",
        f"{lookups.wrong_lot:,}",
    ]  # fmt: skip


def _precision_and_recall(pairs: Sequence[AddressPair], found: Sequence[str]) -> tuple[str, str]:
    each = list(zip(pairs, found, strict=True))
    matched = [pair.verdict == "same" for pair, verdict in each if verdict == "same"]
    same = [verdict == "same" for pair, verdict in each if pair.verdict == "same"]
    return _share(matched), _share(same)


def _share(right: Sequence[bool]) -> str:
    return f"{sum(right) / len(right):.3f}" if right else ""


def _lookups(pairs: Sequence[AddressPair]) -> Lookups:
    lookups = Lookups()
    for wanted, own in by_wanted(pairs).items():
        different, maybe = with_verdict(own, "different"), with_verdict(own, "ambiguous")
        for same in with_verdict(own, "same"):
            _count(lookups, [*different, *maybe, same], wanted, right=same)
        if different:
            _count(lookups, different, wanted)
        if len({address_key(pair.site) for pair in maybe}) > 1:
            _count(lookups, [*different, *maybe], wanted, is_ambiguous=True)
    return lookups


def _count(
    lookups: Lookups,
    lots: Sequence[AddressPair],
    wanted: str,
    *,
    right: AddressPair | None = None,
    is_ambiguous: bool = False,
) -> None:
    for found in look_up(lots, wanted).values():
        lookups.total += 1
        if isinstance(found, Lot):
            [parcel_id] = found.boundary.parcel_ids
            is_right = lots[int(parcel_id)] is right
            lookups.right += is_right
            lookups.wrong_lot += not is_right
        elif right is None:
            reported = isinstance(found, NotLocated) and found.reason == "address_ambiguous"
            lookups.right += reported == is_ambiguous


def _peer_says_same(pair: AddressPair) -> bool:
    site = _peer_line(_line(pair.site))
    return site is not None and site == _peer_line(pair.wanted)


def _line(site: SiteAddress) -> str:
    return site.line or f"{site.house_number} {site.street}"


def _peer_line(text: str) -> str | None:
    """The first line of the normalized address; None if it cannot be parsed."""
    from scourgify import normalize_address_record
    from scourgify.exceptions import AddressNormalizationError

    try:
        line: str | None = normalize_address_record(text)["address_line_1"]
    except (AddressNormalizationError, ValueError):
        return None
    return line
