"""What an export wrote into its folder, so that the next one replaces that and nothing else.

The manifest is a hidden file. It names each file with its SHA-256: a file that a person has changed
since is theirs. While an export moves its files into place, the manifest has the earlier files and
the new ones, so that a killed export leaves no file of unknown origin.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = ".lotline-export.json"
# The table of files in the README of an export without a manifest: a copied folder, or one of an
# earlier version.
_README_ROW = re.compile(r"^\| `(.+?)` \| .* \| [\d,]+ \| ([\d,]+) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of an export.

    Attributes:
        sha256: by file name; several while an export is being published.
        size_bytes: by file name, of files that only a README lists.
    """

    sha256: dict[str, frozenset[str]] = field(default_factory=dict)
    size_bytes: dict[str, int] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether an export wrote a file of this name, unchanged or not."""
        return name in self.sha256 or name in self.size_bytes

    def names(self) -> set[str]:
        """All names."""
        return {*self.sha256, *self.size_bytes}

    def is_unchanged(self, path: Path) -> bool:
        """Whether a file is as an export wrote it."""
        if path.is_symlink() or not path.is_file():
            return False
        if path.name in self.sha256:
            return file_sha256(path) in self.sha256[path.name]
        return self.size_bytes.get(path.name) == path.stat().st_size

    def merged(self, sha256: dict[str, str]) -> Manifest:
        """Also with files that are about to be written."""
        both = {
            name: self.sha256.get(name, frozenset()) | ({sha256[name]} if name in sha256 else set())
            for name in {*self.sha256, *sha256}
        }
        return Manifest(both, self.size_bytes)

    def write(self, path: Path) -> None:
        """Replace the manifest atomically."""
        document = {
            "version": 1,
            "about": "files that lotline export wrote here; the next export replaces them",
            "files": {name: sorted(digests) for name, digests in sorted(self.sha256.items())},
            "sizes": self.size_bytes,
        }
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
        part.replace(path)


def read_manifest(out: Path, readme: str | None) -> Manifest:
    """The manifest of a folder; without one, from the README of an export; else empty."""
    try:
        found = _parse(json.loads((out / MANIFEST).read_text(encoding="utf-8")))
    except FileNotFoundError:
        found = None
    except (ValueError, TypeError, AttributeError):
        found = Manifest()  # damaged: nothing is known to be from an export
    if found is not None:
        return found
    sizes = _README_ROW.findall(readme or "")
    listed = {name.replace("\\|", "|"): int(size.replace(",", "")) for name, size in sizes}
    return Manifest(size_bytes=listed)


def file_sha256(path: Path) -> str:
    """The hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(document: Any) -> Manifest:  # noqa: ANN401 - any JSON
    def is_name(name: str) -> bool:
        # A name that leaves the folder is not from an export.
        return name == Path(name).name and name not in {"", ".", ".."}

    digests = {str(name): frozenset(map(str, each)) for name, each in document["files"].items()}
    sizes = {str(name): int(size) for name, size in document.get("sizes", {}).items()}
    return Manifest(
        {name: each for name, each in digests.items() if is_name(name)},
        {name: size for name, size in sizes.items() if is_name(name)},
    )
