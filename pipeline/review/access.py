"""Who is asking: a signed-in session, a bearer token, or the user of this machine.

While the database has no token, the panel listens on loopback alone, and whoever can reach it there
without a proxy is its administrator, under the name of the user who started it. Once a token
exists, everybody needs one.

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
_PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def session_key(request: Request) -> str:
    """The key of a request's session; that of the user of this machine without a cookie."""
    return request.cookies.get(COOKIE) or _LOCAL_KEY


def csrf_value(context: PanelContext, key: str) -> str:
    """The anti-forgery value of a session."""
    return hmac.new(context.secret, key.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def find_access(context: PanelContext, request: Request) -> Access | None:
    """What the sender of a request may do; None if they must sign in."""
    token = _bearer_token(request)
    cookie = request.cookies.get(COOKIE)
    with context.engine.begin() as conn:
        if token is not None:
            return access_of_token(conn, token)
        if cookie and (access := access_of_session(conn, cookie)) is not None:
            return access
        if context.always_needs_token or needs_token(conn) or _came_through_proxy(request):
            return None
    return Access(context.local_user, "admin")


def _bearer_token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _came_through_proxy(request: Request) -> bool:
    """Whether a proxy says that it passes the request on.

    It runs on this machine, and the sender may not: without a token they would be its user.
    """
    return any(name in request.headers for name in _PROXY_HEADERS)


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
    # Only a bearer token: a browser itself sends the name and password for a proxy (Basic), also
    # with what another site makes it send.
    if request.method in _SAFE_METHODS or _bearer_token(request) is not None:
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


def _admin(request: Request, context: PanelResources) -> Access:
    return _require(request, context, "admin")


# The parameter of a route that anybody with a role may call, or only those who review.
Viewer = Annotated[Access, Depends(_viewer)]
Reviewer = Annotated[Access, Depends(_reviewer)]
Admin = Annotated[Access, Depends(_admin)]
