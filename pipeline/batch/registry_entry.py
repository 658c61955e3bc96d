"""What of a registry entry decides what a batch finds, as a digest."""

from __future__ import annotations

import hashlib

from parcels import County

# Keys of a registry entry whose change is no reason to retry a property that has no result.
_IRRELEVANT_KEYS = {
    "name",
    "state",
    "fips",
    "labels",
    "properties",
    "verified",
    "lot_offset_m",
    "line_tolerance_m",
    "calls_in_flight",
    "calls_per_second",
}


def registry_sha256(county: County) -> str:
    """Hexadecimal digest of a registry entry's parcels and imagery, and of its file's stat."""
    digest = hashlib.sha256(county.model_dump_json(exclude=_IRRELEVANT_KEYS).encode())
    if county.path is not None and county.path.exists():
        stat = county.path.stat()
        digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()
