"""Hypothesis strategies that damage a sound input: its bytes, its JSON tree, or its cells."""

from __future__ import annotations

import copy
import csv
import io
import json
import sqlite3
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

from hypothesis import strategies as st

Damage = Callable[[bytes], st.SearchStrategy[bytes]]

_DEEP = 2_000
# Text that readers, databases, terminals and spreadsheets treat in a way of their own.
ODD_TEXTS = (
    "", " ", "0", "-0", "nan", "inf", "1e999", "-1e-999", "9" * 40, "1.5.5", "0x10", "\0", "a\0b",
    "\x1b[2J", "\u202e", "\ufeff", "\ufffd", "line\nline", "\r", "=1+1", "\uff1d1", '"', '""', "'",
    "a,b", "a;b", "\t", "null", "<a>", "&amp;", "{{1}}", "%s", "$(x)", "../x", "/dev/null",
    "http://127.0.0.1:9/x", "/vsicurl/http://127.0.0.1:9/x", "EPSG:0", "EPSG:4326", "\U0001f4a9",
    "e\u0301" * 50, "x" * 200_000,
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, -1e308, 1e-320, 2**31, 2**63, -(2**63) - 1, 10**30,
    float("nan"), float("inf"), [], {}, [[]], [None], {"a": None}, [[[[]]]], *ODD_TEXTS[:40],
)  # fmt: skip
_ODD_INTEGERS = (0, 1, -1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1)
_ODD_DOUBLES = (float("nan"), float("inf"), -1e308, 1e-320, 0.0, 1e30, 181.0, -91.0)
_NUMBERS = tuple(
    {
        *(value.to_bytes(size, order, signed=value < 0)
          for value in _ODD_INTEGERS for size in (1, 2, 4, 8) for order in ("little", "big")
          if -(2 ** (8 * size - 1)) <= value < 2 ** (8 * size)),
        *(struct.pack(f"{order}d", value) for value in _ODD_DOUBLES for order in "<>"),
    }
)  # fmt: skip

_SQL_VALUES = st.one_of(
    st.none(),
    st.sampled_from((0, -1, 2**63 - 1, -(2**63), 1e308, float("inf"), 181.5, b"", b"\0GP")),
    st.sampled_from(ODD_TEXTS[:40]),
)
_ODD_NAMES = ("../", "/", "a/", "./", "C:", "\x1b", "__MACOSX/", "\u202e", "a\\\\b")


@st.composite
def damaged_bytes(draw: st.DrawFn, sound: bytes) -> bytes:
    """The bytes with up to six edits: numbers replaced, parts removed, repeated or inserted."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(("number", "flip", "cut", "repeat", "insert", "end")))
        length = draw(st.integers(1, 64))
        if kind == "number":
            number = draw(st.sampled_from(_NUMBERS))
            data[at : at + len(number)] = number
        elif kind == "flip" and data:
            data[at] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del data[at : at + length]
        elif kind == "repeat":
            data[at:at] = data[at : at + length] * draw(st.integers(1, 40))
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "end":
            del data[at:]
    return bytes(data)


@st.composite
def damaged_json(draw: st.DrawFn, sound: bytes) -> bytes:
    """A JSON document with up to four odd, missing, repeated or deeply nested values."""
    tree = json.loads(sound)
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(tree))
        if not places:
            break
        owner, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(("odd", "odd", "odd", "gone", "again", "wrapped", "swapped")))
        if kind == "odd":
            owner[key] = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))
        elif kind == "gone":
            del owner[key]
        elif kind == "again" and isinstance(owner, list):
            owner.extend(copy.deepcopy(owner[key]) for _ in range(draw(st.integers(1, 30))))
        elif kind == "wrapped":
            owner[key] = [owner[key]]
        elif kind == "swapped":
            other, its_key = draw(st.sampled_from(places))
            value = copy.deepcopy(owner[key])
            if its_key in other if isinstance(other, dict) else its_key < len(other):
                owner[key] = copy.deepcopy(other[its_key])
                other[its_key] = value
    text = json.dumps(tree)
    if draw(st.integers(0, 30)) == 0:
        text = text.replace("null", "[" * _DEEP + "]" * _DEEP, 1)
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig")))
    return text.encode(encoding)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Each value of a tree, as its list or dict with its index or key."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


@st.composite
def damaged_cells(draw: st.DrawFn, sound: bytes) -> bytes:
    """A CSV with up to six odd, missing or additional cells, in some encoding."""
    rows = list(csv.reader(io.StringIO(sound.decode())))
    for _ in range(draw(st.integers(1, 6))):
        row = draw(st.sampled_from(rows))
        at = draw(st.integers(0, max(len(row) - 1, 0)))
        kind = draw(st.sampled_from(("odd", "odd", "odd", "gone", "more", "row")))
        if kind == "odd" and row:
            row[at] = draw(st.sampled_from(ODD_TEXTS) | st.text(max_size=8))
        elif kind == "gone" and row:
            del row[at]
        elif kind == "more":
            row.insert(at, draw(st.sampled_from(ODD_TEXTS)))
        elif kind == "row":
            rows.append(list(row))
    text = io.StringIO()
    delimiter = draw(st.sampled_from((",", ",", ";", "\t", "|")))
    quoting = draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)))
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows(rows)
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-16", "cp1252", "utf-8-sig")))
    return text.getvalue().encode(encoding, "replace")


@st.composite
def damaged_text(draw: st.DrawFn, sound: bytes) -> bytes:
    """Text (XML, YAML, TOML) in which up to four words or attributes are odd."""
    parts = sound.decode().replace('"', '\0"\0').replace(">", "\0>\0").replace("<", "\0<\0")
    words = parts.replace(" ", "\0 \0").replace("\n", "\0\n\0").split("\0")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(words) - 1))
        kind = draw(st.sampled_from(("odd", "odd", "gone", "again")))
        if kind == "odd":
            words[at] = draw(st.sampled_from(ODD_TEXTS))
        elif kind == "gone":
            words[at] = ""
        else:
            words[at] *= draw(st.integers(2, 20))
    return "".join(words).encode("utf-8", "surrogatepass")


@st.composite
def damaged_rows(draw: st.DrawFn, sound: bytes) -> bytes:
    """A SQLite file (GeoPackage) with up to four odd values in any table, or damaged geometries."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(sound)
        db.execute("PRAGMA trusted_schema = 0")
        listed = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        tables = [
            name for (name,) in db.execute(listed) if not name.startswith(("rtree", "sqlite"))
        ]
        for trigger in [
            n for (n,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        ]:
            db.execute(f'DROP TRIGGER "{trigger}"')  # they need functions of SpatiaLite
        for _ in range(draw(st.integers(1, 4))):
            table = draw(st.sampled_from(tables))
            columns = [row[1] for row in db.execute(f'PRAGMA table_info("{table}")')]
            column = draw(st.sampled_from(columns))
            rows = db.execute(f'SELECT rowid, "{column}" FROM "{table}" ORDER BY rowid').fetchall()
            if not rows:
                continue
            row, value = draw(st.sampled_from(rows))
            if isinstance(value, bytes) and value:
                value = draw(damaged_bytes(value))
            else:
                value = draw(_SQL_VALUES)
            with suppress(sqlite3.IntegrityError):
                db.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (value, row))
        db.commit()
        return db.serialize()


@st.composite
def damaged_members(draw: st.DrawFn, sound: bytes) -> bytes:
    """A zip in which one or two files are damaged, gone, or have another name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sound)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(contents)))
        kind = draw(st.sampled_from(("bytes", "bytes", "bytes", "gone", "named")))
        if kind == "bytes":
            contents[name] = draw(damaged_bytes(contents[name]))
        elif kind == "named":
            contents[draw(st.sampled_from(_ODD_NAMES)) + name] = contents.pop(name)
        elif len(contents) > 1:
            del contents[name]
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return packed.getvalue()


@st.composite
def damaged_safetensors(draw: st.DrawFn, sound: bytes) -> bytes:
    """A safetensors file of an odd header, or of odd bytes."""
    end = 8 + int.from_bytes(sound[:8], "little")
    if draw(st.booleans()):
        header = draw(damaged_json(sound[8:end]))
        return len(header).to_bytes(8, "little") + header + sound[end:]
    return draw(damaged_bytes(sound[: end + 64])) + sound[end + 64 :]


def damaged(sounds: Sequence[bytes], *ways: Damage) -> st.SearchStrategy[bytes]:
    """One of the inputs, damaged in one of these ways."""
    return st.sampled_from(range(len(sounds))).flatmap(
        lambda index: st.one_of(*(way(sounds[index]) for way in ways))
    )
