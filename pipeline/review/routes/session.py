"""Sign in, sign out, and who is signed in."""

from __future__ import annotations

import time
from collections import deque
from http import HTTPStatus
from threading import Lock
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from pipeline.review.access import (
    COOKIE,
    check_forgery,
    csrf_value,
    find_access,
    session_key,
)
from pipeline.review.panel_context import PanelResources
from pipeline.review.problems import ProblemError
from pipeline.store.reviews.tokens import (
    SESSION_HOURS,
    Access,
    AccessRole,
    access_of_token,
    begin_session,
    end_session,
)

router = APIRouter(prefix="/session", tags=["session"])

# Wrong tokens that an address may send in a minute. A token cannot be guessed: this bounds work.
_TRIES_PER_MINUTE = 10
_WINDOW_S = 60.0
_MOST_ADDRESSES = 10_000


class SignIn(BaseModel):
    """A sign-in with the text of a token."""

    token: Annotated[str, Field(min_length=1, max_length=200)]


class SessionView(BaseModel):
    """Who is signed in; `reviewer` is None for nobody, and then only signing in is possible.

    Attributes:
        csrf: to be sent as X-CSRF-Token with every request that writes.
        is_local: whether no token is needed: only this machine can reach the panel.
    """

    reviewer: str | None
    role: AccessRole | None
    counties: tuple[str, ...] | None
    csrf: str
    is_local: bool


class FailedSignIns:
    """Counts wrong tokens by address; thread-safe."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._lock = Lock()

    def check(self, address: str) -> None:
        """Refuse an address that has sent too many wrong tokens.

        Raises:
            ProblemError: wait.
        """
        now = time.monotonic()
        with self._lock:
            times = self._times.get(address)
            while times and times[0] < now - _WINDOW_S:
                times.popleft()
            if times is not None and not times:
                del self._times[address]
            elif times and len(times) >= _TRIES_PER_MINUTE:
                wait_s = int(times[0] + _WINDOW_S - now) + 1
                raise ProblemError(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"too many wrong tokens: try again in {wait_s} seconds",
                    {"Retry-After": str(wait_s)},
                )

    def add(self, address: str) -> None:
        """Count a wrong token."""
        with self._lock:
            if len(self._times) >= _MOST_ADDRESSES:
                self._times.clear()
            self._times.setdefault(address, deque()).append(time.monotonic())


@router.get("")
def show(request: Request, context: PanelResources) -> SessionView:
    """Who is signed in."""
    return _view(context, find_access(context, request), session_key(request))


@router.post("")
def sign_in(body: SignIn, request: Request, response: Response, context: PanelResources) -> (
    SessionView
):  # fmt: skip
    """Sign in with a token; the session is a cookie that scripts cannot read."""
    check_forgery(context, request)
    address = request.client.host if request.client else ""
    failed: FailedSignIns = request.app.state.failed_sign_ins
    failed.check(address)
    with context.engine.begin() as conn:
        access = access_of_token(conn, body.token.strip())
        if access is not None and access.token_id is not None:
            key = begin_session(conn, access.token_id)
    if access is None:
        failed.add(address)
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "this token is unknown or revoked")
    response.set_cookie(
        COOKIE,
        key,
        max_age=SESSION_HOURS * 3600,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return _view(context, access, key)


@router.delete("", status_code=HTTPStatus.NO_CONTENT)
def sign_out(request: Request, response: Response, context: PanelResources) -> None:
    """End the session."""
    check_forgery(context, request)
    if key := request.cookies.get(COOKIE):
        with context.engine.begin() as conn:
            end_session(conn, key)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


def _view(context: PanelResources, access: Access | None, key: str) -> SessionView:
    return SessionView(
        reviewer=None if access is None else access.reviewer,
        role=None if access is None else access.role,
        counties=None if access is None else access.counties,
        csrf=csrf_value(context, key),
        is_local=access is not None and access.token_id is None,
    )
