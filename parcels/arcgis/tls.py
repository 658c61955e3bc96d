"""TLS with servers that only do renegotiation of before 2010 (RFC 5746)."""

from __future__ import annotations

import ssl

from urllib3.util.ssl_ import create_urllib3_context

# OpenSSL's SSL_OP_LEGACY_SERVER_CONNECT, which Python names from 3.12 on.
_LEGACY_SERVER_CONNECT = 0x4


def legacy_context() -> ssl.SSLContext:
    """A context for a named host that OpenSSL 3 refuses to talk to.

    The certificate and the host's name in it are checked as ever: only the handshake is older.
    """
    context = create_urllib3_context()
    context.options |= _LEGACY_SERVER_CONNECT
    return context
