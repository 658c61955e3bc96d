"""Who is asking: a signed-in session, a bearer token, or the user of this machine.

While the database has no token, the panel listens on loopback alone, and whoever can reach it there
is its administrator, under the name of the user who started it. Once a token exists, everybody
needs one.

A request that writes with a cookie, or with nothing, must carry the session's anti-forgery value in
`X-CSRF-Token`: other sites can send the cookie, but cannot read the value.
"""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request

from pipeline.review.panel_context import PanelContext, PanelResources
from pipeline.review.problems import ProblemError
from pipeline.store.reviews.tokens import (
    Access,
    AccessRole,
    access_of_session,
    access_of_token,
    needs_token,
)

COOKIE = "lotline_session"
CSRF_HEADER = "X-CSRF-Token"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_LOCAL_KEY = "local"


def session_key(request: Request) -> str:
    """The key of a request's session; that of the user of this machine without a cookie."""
    return request.cookies.get(COOKIE) or _LOCAL_KEY


def csrf_value(context: PanelContext, key: str) -> str:
    """The anti-forgery value of a session."""
    return hmac.new(context.secret, key.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def find_access(context: PanelContext, request: Request) -> Access | None:
    """What the sender of a request may do; None if they must sign in."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    cookie = request.cookies.get(COOKIE)
    with context.engine.begin() as conn:
        if scheme.lower() == "bearer":
            return access_of_token(conn, token.strip())
        if cookie and (access := access_of_session(conn, cookie)) is not None:
            return access
        if needs_token(conn):
            return None
    return Access(context.local_user, "admin")


def _require(request: Request, context: PanelContext, role: AccessRole) -> Access:
    access = find_access(context, request)
    if access is None:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "sign in with a token: an administrator makes one with `lotline review token add`",
            {"WWW-Authenticate": "Bearer"},
        )
    check_forgery(context, request)
    if not access.may(role):
        raise ProblemError(
            HTTPStatus.FORBIDDEN, f"this needs the role {role}; yours is {access.role}"
        )
    return access


def check_forgery(context: PanelContext, request: Request) -> None:
    """Refuse a request that writes and that another site may have sent.

    Raises:
        ProblemError: its anti-forgery value is missing or wrong.
    """
    if request.method in _SAFE_METHODS or "authorization" in request.headers:
        return
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode(), csrf_value(context, session_key(request)).encode()):
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            f"the anti-forgery value in {CSRF_HEADER} is missing or of another session: reload "
            "the page, or send a bearer token",
        )


def _viewer(request: Request, context: PanelResources) -> Access:
    return _require(request, context, "viewer")


def _reviewer(request: Request, context: PanelResources) -> Access:
    return _require(request, context, "reviewer")


# The parameter of a route that anybody with a role may call, or only those who review.
Viewer = Annotated[Access, Depends(_viewer)]
Reviewer = Annotated[Access, Depends(_reviewer)]
