"""Takes secrets out of text that people or programs are shown.

Two nets: what looks like a secret where it stands (the password in an address, `token=…`, a Bearer
header, an AWS key), and the secrets that this process knows, wherever they turn up.
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
# What ends so holds the path of a file, or the name of a thing.
_NO_SECRET = re.compile(r"(?:_file|_path|_dir|_url|_uri|_env|_name)$", re.IGNORECASE)

# A variable's name only suggests that it holds a secret; what is short is a switch or a number.
_VARIABLE_CHARS = 8

# A short word may be part of others ("postgres" of "postgresql"): it is hidden where it stands
# alone. Shorter ones yet are hidden by their place, else they would riddle every text.
_ALONE_CHARS = 4
_ANYWHERE_CHARS = 12

_KEY = rf"[\w.-]{{0,60}}(?:{_WORDS})[\w.-]{{0,60}}|pwd|sig|(?:x-)?[\w-]{{0,30}}signature"
_VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s&;,'"}\])]+)"""
_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), instead)
    for pattern, instead in (
        # scheme://user:password@ - up to the last @, for a password may hold one.
        (r"""(://[^\s/:@'"<>]*):[^\s'"<>]*@""", rf"\1:{MASK}@"),
        (r"""\b(authorization['"]?\s*[:=]\s*['"]?)(?:\w+\s+)?[^\s'",}]+""", rf"\1{MASK}"),
        (r"\b(bearer\s+)[\w.~+/=-]{8,}", rf"\1{MASK}"),
        # key=value as in addresses and connection strings, "key": value as in mappings, and
        # X-Some-Token: value as in headers; but no "token: what to do about it" of a message.
        (rf"(?<![\w.-])((?:{_KEY})\s*=\s*){_VALUE}", rf"\1{MASK}"),
        (rf"""(?<![\w.-])(['"](?:{_KEY})['"]\s*:\s*){_VALUE}""", rf"\1{MASK}"),
        (rf"(?<![\w.-])((?:\w+-)+(?:{_WORDS})\s*:\s*){_VALUE}", rf"\1{MASK}"),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", MASK),
        (r"\bhf_[A-Za-z0-9]{16,}\b", MASK),
    )
)
# What libpq knows and may be shown. Any other word of an address may be a misspelt password.
_SHOWN_WORD = re.compile(
    r"host|hostaddr|port|user|dbname|service|options|connect_timeout|application_name|"
    r"client_encoding|target_session_attrs|keepalives\w*|ssl(?!password)\w*|gss\w+|krb\w+"
)
_WORD_OF_QUERY = re.compile(r"(?<=[?&])([^=&]*)=([^&]*)")
_PASSWORD = re.compile(r"(\w[\w+.-]*://[^/:@]*):.*@", re.DOTALL)
_PASSWORDS = (
    re.compile(r"://[^/:@]*:([^@]*)@"),  # as SQLAlchemy reads an address,
    re.compile(r"://[^/:@]*:(.*)@", re.DOTALL),  # and as its author may have meant it
)


class Redactor:
    """Knows secrets, and hides them and what looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = Lock()
        self._known: frozenset[str] = frozenset()
        self._net: re.Pattern[str] | None = None
        self.add_secrets(secrets)

    @property
    def known(self) -> frozenset[str]:
        """The secrets themselves: for other processes of ours, and for nobody's eyes."""
        return self._known

    def add_secrets(self, secrets: Iterable[str]) -> None:
        """Hide these too from now on; what has less than four characters, by its place alone."""
        with self._lock:
            more = {secret for secret in secrets if len(secret) >= _ALONE_CHARS}
            if more <= self._known:
                return
            self._known = self._known | more
            forms = {form for secret in self._known for form in _forms(secret)}
            # The longest first: one secret may be the beginning of another.
            ordered = sorted(forms, key=len, reverse=True)
            self._net = re.compile("|".join(_pattern(form) for form in ordered))

    def text(self, text: str) -> str:
        """The text without secrets."""
        if self._net is not None:
            text = self._net.sub(MASK, text)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def mapping(self, values: Mapping[str, object]) -> dict[str, object]:
        """Values as JSON knows them, without what is named for a secret or holds one."""
        return {
            name: MASK if value and is_secret_name(name) else self._value(value)
            for name, value in values.items()
        }

    def address(self, address: str) -> str:
        """A database's address; nothing of one that is none, for a password may be anywhere."""
        if "://" not in address:
            return MASK
        shown = _WORD_OF_QUERY.sub(
            lambda word: word[0] if _SHOWN_WORD.fullmatch(word[1]) else f"{word[1]}={MASK}", address
        )
        return self.text(_PASSWORD.sub(rf"\1:{MASK}@", shown))

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self.mapping(value)
        if isinstance(value, list | tuple):
            return [self._value(item) for item in value]
        return value


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret."""
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET.search(name)


def secrets_of_environment(environment: Mapping[str, str]) -> set[str]:
    """What the variables hold that are named for a secret (HF_TOKEN, PGPASSWORD, …)."""
    return {
        value
        for name, value in environment.items()
        if is_secret_name(name) and len(value) >= _VARIABLE_CHARS
    }


def secrets_of_address(address: str) -> set[str]:
    """The passwords in a database's address, as written and as meant."""
    if "://" not in address:
        return {address}
    found = {match[1] for pattern in _PASSWORDS if (match := pattern.search(address))}
    found |= {
        value for word, value in _WORD_OF_QUERY.findall(address) if not _SHOWN_WORD.fullmatch(word)
    }
    return {text for secret in found if secret for text in (secret, unquote(secret))}


def _forms(secret: str) -> set[str]:
    """How a secret may be written: as it is, in an address, in Python's `repr` and in JSON."""
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
    return escaped if len(form) >= _ANYWHERE_CHARS else rf"(?<!\w){escaped}(?!\w)"


# This process's: one for all, for what one part knows as a secret is one wherever it turns up.
redactor = Redactor()
