"""Answers of the panel that come late: what a test, or a page, does not wait for is then not there.

With `LOTLINE_ANSWER_DELAY_MS=400` in the environment of pytest, each answer but those of the page's
own files waits up to 400 ms in all: before the panel handles the request, and before its answer
goes out. `LOTLINE_ANSWER_DELAY_SEED=2` draws other delays.
"""

from __future__ import annotations

import asyncio
import os
import random

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MS, _SEED = "LOTLINE_ANSWER_DELAY_MS", "LOTLINE_ANSWER_DELAY_SEED"
_DELAYED = ("/v1/", "/tiles/", "/session")


class SlowAnswers:
    """Middleware that delays requests and answers at random, by up to `limit_s` in all."""

    def __init__(self, app: ASGIApp, limit_s: float, seed: int) -> None:
        self._app, self._limit_s, self._chance = app, limit_s, random.Random(seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_DELAYED):
            return await self._app(scope, receive, send)
        whole_s = self._chance.uniform(0, self._limit_s)
        before_s = self._chance.uniform(0, whole_s)

        async def send_late(message: Message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(whole_s - before_s)
            await send(message)

        await asyncio.sleep(before_s)
        return await self._app(scope, receive, send_late)


def delay_answers(app: ASGIApp) -> ASGIApp:
    """The application, with the delays that the environment asks for."""
    limit_ms = float(os.environ.get(_MS, "0"))
    if limit_ms <= 0:
        return app
    return SlowAnswers(app, limit_ms / 1000, int(os.environ.get(_SEED, "1")))
