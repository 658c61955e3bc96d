"""The features of a JSON file one at a time, however large it is.

A file is one object with "features", an array of features, or a sequence of objects (newline
GeoJSON, RFC 8142, several answers one after the other).
"""

from __future__ import annotations

import codecs
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

_CHUNK = 1 << 20
# A first line up to this length is tried as a complete object.
_MAX_LINE = 16 << 20
_BLANK = " \t\r\n\x1e,\x00"
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
         (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip

Members = dict[str, Any]


def json_features(file: IO[bytes]) -> Iterator[tuple[bool, Members]]:
    """The features of a file, and the objects around them.

    Bytes that are not UTF-8 become surrogates ("surrogateescape").

    Yields:
        (True, a feature), or (False, an object's other members) at the end of each object.

    Raises:
        ValueError: not valid JSON, or it ends too early.
    """
    text = _JsonWindow(file)
    try:
        first_line = text.first_line()
        if first_line is not None:
            yield from _of_value(first_line)
            del first_line
            while text.skip_blank():
                yield from _of_value(text.value())
            return
        while first := text.skip_blank():
            if first == "{":
                yield from _of_object(text)
            elif first == "[":
                yield from ((True, _object(each)) for each in text.items())
            else:
                raise ValueError("it is not an object or an array of JSON")
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _of_value(value: object) -> Iterator[tuple[bool, Members]]:
    if isinstance(value, list):
        for each in value:
            yield from _of_value(each)
        return
    members = _object(value)
    if members.get("type") == "Feature" and "features" not in members:
        yield True, members
        return
    features = members.pop("features", None)
    if isinstance(features, list):
        yield from ((True, _object(each)) for each in features)
    yield False, members


def _of_object(text: _JsonWindow) -> Iterator[tuple[bool, Members]]:
    """An object, of which the features are not held."""
    members: Members = {}
    text.at += 1
    while text.skip_blank() not in ("}", ""):
        key = text.value()
        if text.skip_blank() != ":":
            raise ValueError("a colon is missing in its JSON")
        text.at += 1
        if key == "features" and text.skip_blank() == "[":
            yield from ((True, _object(each)) for each in text.items())
        else:
            text.skip_blank()
            members[str(key)] = text.value()
    if not text.skip_blank():
        raise ValueError("its JSON ends too early; download it again")
    text.at += 1
    yield members.get("type") == "Feature", members


def _object(value: object) -> Members:
    return value if isinstance(value, dict) else {}


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """A third faster: the collector would visit every list of coordinates again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _JsonWindow:
    """The text of a file, of which only a window is held.

    Attributes:
        at: the position in the window.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        start = file.read(_CHUNK)
        bom, encoding = next(
            ((bom, name) for bom, name in _BOMS if start.startswith(bom)), (b"", "utf-8")
        )
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._json = json.JSONDecoder()
        self._window = self._decoder.decode(start.removeprefix(bom))
        self._ended = False
        self.at = 0

    def first_line(self) -> Any:  # noqa: ANN401
        """The value that the first line is, moving behind it; None if it is not one."""
        self.skip_blank()
        while "\n" not in self._window[self.at :] and self._fill():
            if len(self._window) > _MAX_LINE:
                return None
        line = self._window[self.at :].split("\n", 1)[0]
        if len(line) > _MAX_LINE:
            return None
        try:
            value, end = self._json.raw_decode(line)
        except (ValueError, RecursionError):
            return None
        self.at += end
        return value

    def skip_blank(self) -> str:
        """The next character that is not a separator; empty at the end of the file."""
        while True:
            while self.at < len(self._window):
                if self._window[self.at] not in _BLANK:
                    return self._window[self.at]
                self.at += 1
            if not self._fill():
                return ""

    def value(self) -> Any:  # noqa: ANN401
        """The JSON value at the position, which moves behind it."""
        while True:
            try:
                value, end = self._json.raw_decode(self._window, self.at)
            except json.JSONDecodeError as error:
                if self._fill():
                    continue
                message = f"its JSON is damaged or ends too early ({error.msg}); download it again"
                raise ValueError(message) from None
            except ValueError:  # of Python, for numbers of thousands of digits
                raise ValueError(
                    "a number in it has thousands of digits; save that column as text"
                ) from None
            # A number may continue behind the window.
            if end == len(self._window) and self._fill():
                continue
            self.at = end
            return value

    def items(self) -> Iterator[Any]:
        """The items of the array at the position, which moves behind it."""
        self.at += 1
        while (first := self.skip_blank()) != "]":
            if not first:
                raise ValueError("its JSON ends too early; download it again")
            yield self.value()
        self.at += 1

    def _fill(self) -> bool:
        """Read on; False at the end of the file."""
        if self._ended:
            return False
        rest = self._window[self.at :]
        # At least as much again, so that a long value is not decoded many times.
        chunk = self._file.read(max(_CHUNK, len(rest)))
        self._ended = not chunk
        self._window = rest + self._decoder.decode(chunk, final=self._ended)
        self.at = 0
        return not self._ended
