"""A server of files on loopback that serves ranges, as web servers and object stores do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from servers.scripted import Call, Reply, ScriptedServer, scripted


@dataclass
class Bucket:
    """Files by path; `sent` counts the bytes of their contents that went out."""

    files: dict[str, bytes] = field(default_factory=dict)
    sent: int = 0
    ranges: bool = True
    always: Callable[[Call], Reply | None] = lambda _: None

    def reply(self, call: Call) -> Reply:
        fault = self.always(call)
        if fault is not None:
            return fault
        content = self.files.get(call.path.lstrip("/"))
        if content is None:
            return Reply(b"<Error><Code>NoSuchKey</Code><Message>No key</Message></Error>", 404)
        wanted = call.headers.get("Range")
        if wanted is None or not self.ranges:
            self.sent += len(content)
            return Reply(content)
        first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
        if first >= len(content):
            return Reply(b"", 416)
        part = content[first : last + 1]
        self.sent += len(part)
        end = first + len(part) - 1
        return Reply(part, 206, {"Content-Range": f"bytes {first}-{end}/{len(content)}"})


@contextmanager
def bucket_server(bucket: Bucket) -> Iterator[ScriptedServer]:
    with scripted(bucket.reply) as server:
        yield server
