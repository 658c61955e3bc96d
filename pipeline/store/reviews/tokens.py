"""Who may use the review panel: tokens with a role, and sessions of those who signed in.

A token and a session's key are 256 random bits. Only their SHA-256 is stored: with so many bits a
slow hash would add nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import Connection, Row, text

from pipeline.errors import NotStored, StoreError

AccessRole = Literal["viewer", "reviewer", "admin"]
ROLES: tuple[AccessRole, ...] = get_args(AccessRole)

# A prefix by which people, and scanners of leaked secrets, recognise it.
TOKEN_PREFIX = "lotline_"  # noqa: S105
SESSION_HOURS = 12
_SECRET_BYTES = 32

_ADD = text("""
INSERT INTO lotline.review_token (reviewer, role, counties, sha256)
VALUES (:reviewer, :role, CAST(:counties AS text[]), :sha256) RETURNING id
""")

_LIST = text("""
SELECT id, reviewer, role, counties, created_at, used_at, revoked_at
FROM lotline.review_token ORDER BY id
""")

_REVOKE = text("""
UPDATE lotline.review_token SET revoked_at = coalesce(revoked_at, now())
WHERE id = :id RETURNING id
""")
_END_SESSIONS = text("DELETE FROM lotline.review_session WHERE token_fk = :id")
_ANY_ACTIVE = text("SELECT EXISTS (SELECT FROM lotline.review_token WHERE revoked_at IS NULL)")

# `used_at` is for people who look for tokens that nobody uses: once an hour is enough.
_FIND = text("""
WITH found AS (
    SELECT id, reviewer, role, counties, used_at FROM lotline.review_token
    WHERE sha256 = :sha256 AND revoked_at IS NULL
), used AS (
    UPDATE lotline.review_token t SET used_at = now() FROM found
    WHERE t.id = found.id AND coalesce(found.used_at < now() - interval '1 hour', true)
)
SELECT id, reviewer, role, counties FROM found
""")

_BEGIN_SESSION = text(f"""
INSERT INTO lotline.review_session (sha256, token_fk, expires_at)
VALUES (:sha256, :token, now() + interval '{SESSION_HOURS} hours')
""")  # noqa: S608
_FORGET_EXPIRED = text("DELETE FROM lotline.review_session WHERE expires_at < now()")

_FIND_SESSION = text("""
SELECT t.id, t.reviewer, t.role, t.counties FROM lotline.review_session s
JOIN lotline.review_token t ON t.id = s.token_fk
WHERE s.sha256 = :sha256 AND s.expires_at > now() AND t.revoked_at IS NULL
""")
_END_SESSION = text("DELETE FROM lotline.review_session WHERE sha256 = :sha256")


@dataclass(frozen=True, slots=True)
class Access:
    """What somebody may do.

    Attributes:
        counties: the counties that they may see; None for all.
        token_id: None for the user of this machine, who needs no token.
    """

    reviewer: str
    role: AccessRole
    counties: tuple[str, ...] | None = None
    token_id: int | None = None

    def may(self, role: AccessRole) -> bool:
        """Whether this role, or a higher one, is theirs."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as it is listed: everything but the secret, which is not stored."""

    id: int
    reviewer: str
    role: AccessRole
    counties: tuple[str, ...] | None
    created_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


def add_token(
    conn: Connection, reviewer: str, role: AccessRole, counties: Sequence[str] | None = None
) -> tuple[int, str]:
    """Create a token: its id, and its text, which cannot be shown again.

    Raises:
        StoreError: no reviewer, or an unknown role.
    """
    if not reviewer.strip():
        raise StoreError("a token needs the name of its reviewer")
    if role not in ROLES:
        raise StoreError(f"{role!r} is not a role: write {', '.join(ROLES)}")
    token = TOKEN_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    values = {
        "reviewer": reviewer.strip(),
        "role": role,
        "counties": list(counties) if counties else None,
        "sha256": _digest(token),
    }
    return int(conn.execute(_ADD, values).scalar_one()), token


def list_tokens(conn: Connection) -> list[StoredToken]:
    """Every token, revoked ones included, oldest first."""
    return [
        StoredToken(
            row.id, row.reviewer, row.role, _counties(row), row.created_at, row.used_at,
            row.revoked_at,
        )
        for row in conn.execute(_LIST)
    ]  # fmt: skip


def revoke_token(conn: Connection, token_id: int) -> None:
    """End a token and its sessions; revoking it twice changes nothing.

    Raises:
        NotStored: there is no such token.
    """
    if conn.execute(_REVOKE, {"id": token_id}).one_or_none() is None:
        raise NotStored(f"there is no token {token_id}: `lotline review token list` lists them")
    conn.execute(_END_SESSIONS, {"id": token_id})


def needs_token(conn: Connection) -> bool:
    """Whether a token exists: then nobody is let in without one, on this machine either."""
    return bool(conn.execute(_ANY_ACTIVE).scalar())


def access_of_token(conn: Connection, token: str) -> Access | None:
    """What a token allows; None if it is unknown or revoked."""
    return _access(conn.execute(_FIND, {"sha256": _digest(token)}).one_or_none())


def begin_session(conn: Connection, token_id: int) -> str:
    """Begin a session of `SESSION_HOURS`; its key, which is the value of a cookie."""
    key = secrets.token_urlsafe(_SECRET_BYTES)
    conn.execute(_FORGET_EXPIRED)
    conn.execute(_BEGIN_SESSION, {"sha256": _digest(key), "token": token_id})
    return key


def access_of_session(conn: Connection, key: str) -> Access | None:
    """What a session allows; None if it has ended, or its token is revoked."""
    return _access(conn.execute(_FIND_SESSION, {"sha256": _digest(key)}).one_or_none())


def end_session(conn: Connection, key: str) -> None:
    """End a session."""
    conn.execute(_END_SESSION, {"sha256": _digest(key)})


def _access(row: Row[tuple[int, str, AccessRole, list[str] | None]] | None) -> Access | None:
    return None if row is None else Access(row.reviewer, row.role, _counties(row), row.id)


def _counties(row: Row[tuple[object, ...]]) -> tuple[str, ...] | None:
    return None if row.counties is None else tuple(row.counties)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
