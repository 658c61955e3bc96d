"""Mask secrets in everything that is printed, logged or stored.

Two methods: patterns (the password in a URL, `token=…`, a Bearer header, an AWS key), and the
secrets that this process knows, wherever they occur.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from threading import Lock
from urllib.parse import quote, quote_plus, unquote

MASK = "***"

_WORDS = r"token(?!iz|s)|secret|passw(?:or)?d|passphrase|credential|api[_-]?key|access[_-]?key"
_SECRET_NAME = re.compile(rf"{_WORDS}|private_?key", re.IGNORECASE)
# These suffixes mark a path, a URL or a name, not the secret itself.
_NOT_SECRET_NAME = re.compile(r"(?:_file|_path|_dir|_url|_uri|_env|_name)$", re.IGNORECASE)

# Shorter values of variables such as USE_TOKEN are flags or numbers, not secrets.
_MIN_VARIABLE_CHARS = 8

# A short secret may be part of common words ("postgres" in "postgresql"): it is masked only as a
# whole word. A shorter one still is masked only by patterns, or it would mask parts of any text.
_WHOLE_WORD_MIN_CHARS = 4
_ANYWHERE_MIN_CHARS = 12

_KEY = rf"[\w.-]{{0,60}}(?:{_WORDS})[\w.-]{{0,60}}|pwd|sig|(?:x-)?[\w-]{{0,30}}signature"
_VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s&;,'"}\])]+)"""
_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # scheme://user:password@ up to the last @, because a password may contain one.
        (r"""(://[^\s/:@'"<>]*):[^\s'"<>]*@""", rf"\1:{MASK}@"),
        (r"""\b(authorization['"]?\s*[:=]\s*['"]?)(?:\w+\s+)?[^\s'",}]+""", rf"\1{MASK}"),
        (r"\b(bearer\s+)[\w.~+/=-]{8,}", rf"\1{MASK}"),
        # key=value as in URLs and connection strings, "key": value as in mappings, and
        # X-Some-Token: value as in headers; but not "token: …" in a message.
        (rf"(?<![\w.-])((?:{_KEY})\s*=\s*){_VALUE}", rf"\1{MASK}"),
        (rf"""(?<![\w.-])(['"](?:{_KEY})['"]\s*:\s*){_VALUE}""", rf"\1{MASK}"),
        (rf"(?<![\w.-])((?:\w+-)+(?:{_WORDS})\s*:\s*){_VALUE}", rf"\1{MASK}"),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", MASK),
        (r"\bhf_[A-Za-z0-9]{16,}\b", MASK),
    )
)
# libpq parameters without secrets. Any other parameter may be a misspelt password.
_SAFE_PARAMETER = re.compile(
    r"host|hostaddr|port|user|dbname|service|options|connect_timeout|application_name|"
    r"client_encoding|target_session_attrs|keepalives\w*|ssl(?!password)\w*|gss\w+|krb\w+"
)
_QUERY_PARAMETER = re.compile(r"(?<=[?&])([^=&]*)=([^&]*)")
_PASSWORD = re.compile(r"(\w[\w+.-]*://[^/:@]*):.*@", re.DOTALL)
_PASSWORDS = (
    re.compile(r"://[^/:@]*:([^@]*)@"),  # as SQLAlchemy parses a URL,
    re.compile(r"://[^/:@]*:(.*)@", re.DOTALL),  # and as its author may have meant it
)


class Redactor:
    """Masks known secrets, and text that matches a secret's pattern."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = Lock()
        self._known: frozenset[str] = frozenset()
        self._known_pattern: re.Pattern[str] | None = None
        self.add_secrets(secrets)

    @property
    def known(self) -> frozenset[str]:
        """The secrets in plain text, for worker processes only."""
        return self._known

    def add_secrets(self, secrets: Iterable[str]) -> None:
        """Mask these secrets too; those of fewer than 4 characters are masked only by patterns."""
        with self._lock:
            added = {secret for secret in secrets if len(secret) >= _WHOLE_WORD_MIN_CHARS}
            if added <= self._known:
                return
            self._known = self._known | added
            forms = {form for secret in self._known for form in _forms(secret)}
            # Longest first: one secret may be a prefix of another.
            ordered = sorted(forms, key=len, reverse=True)
            self._known_pattern = re.compile("|".join(_pattern(form) for form in ordered))

    def text(self, text: str) -> str:
        """Return the text with secrets masked."""
        if self._known_pattern is not None:
            text = self._known_pattern.sub(MASK, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def mapping(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return JSON-compatible values, masking secrets and values with a secret's name."""
        return {
            name: MASK if value and is_secret_name(name) else self._value(value)
            for name, value in values.items()
        }

    def url(self, url: str) -> str:
        """Return a database URL without passwords; anything else is masked completely."""
        if "://" not in url:
            return MASK
        masked = _QUERY_PARAMETER.sub(
            lambda match: match[0] if _SAFE_PARAMETER.fullmatch(match[1]) else f"{match[1]}={MASK}",
            url,
        )
        return self.text(_PASSWORD.sub(rf"\1:{MASK}@", masked))

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self.mapping(value)
        if isinstance(value, list | tuple):
            return [self._value(item) for item in value]
        return value


def is_secret_name(name: str) -> bool:
    """Whether a variable or key of this name holds a secret."""
    return bool(_SECRET_NAME.search(name)) and not _NOT_SECRET_NAME.search(name)


def secrets_of_environment(environment: Mapping[str, str]) -> set[str]:
    """Return the values of variables with a secret's name (HF_TOKEN, PGPASSWORD, …)."""
    return {
        value
        for name, value in environment.items()
        if is_secret_name(name) and len(value) >= _MIN_VARIABLE_CHARS
    }


def secrets_of_url(url: str) -> set[str]:
    """Return the passwords in a database URL, as written and percent-decoded."""
    if "://" not in url:
        return {url}
    found = {match[1] for pattern in _PASSWORDS if (match := pattern.search(url))}
    found |= {
        value
        for name, value in _QUERY_PARAMETER.findall(url)
        if not _SAFE_PARAMETER.fullmatch(name)
    }
    return {text for secret in found if secret for text in (secret, unquote(secret))}


def _forms(secret: str) -> set[str]:
    """Return a secret's spellings: plain, in a URL, in Python's `repr`, in JSON."""
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }


def _pattern(form: str) -> str:
    escaped = re.escape(form)
    return escaped if len(form) >= _ANYWHERE_MIN_CHARS else rf"(?<!\w){escaped}(?!\w)"


# One for the process: a secret known to one module is masked in the output of all.
redactor = Redactor()
