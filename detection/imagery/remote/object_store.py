"""s3:// addresses as https, unsigned or signed with the credentials of the environment.

The variables are those of the AWS tools and of GDAL: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_REGION or AWS_DEFAULT_REGION, AWS_NO_SIGN_REQUEST, AWS_REQUEST_PAYER, and
AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or AWS_S3_ENDPOINT for another server.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

_PAYLOAD = "UNSIGNED-PAYLOAD"
_YES = ("yes", "true", "1", "on")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a file is: the https URL, and its region if it is in a bucket."""

    url: str
    region: str | None = None


def target_of(address: str) -> Target:
    """The URL of an s3:// address; http and https addresses are their own.

    A custom endpoint, and a bucket with dots (whose name no certificate has), are addressed by
    path.
    """
    parts = urlsplit(address)
    if parts.scheme != "s3":
        return Target(address)
    bucket, key = parts.netloc, quote(parts.path.lstrip("/"), safe="/~-._")
    region = _variable("AWS_REGION") or _variable("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = _endpoint()
    if endpoint:
        return Target(f"{endpoint}/{bucket}/{key}", region)
    if "." in bucket:
        return Target(f"https://s3.{region}.amazonaws.com/{bucket}/{key}", region)
    return Target(f"https://{bucket}.s3.{region}.amazonaws.com/{key}", region)


def headers_for(target: Target, now: datetime | None = None) -> dict[str, str]:
    """The headers of a GET: a signature (AWS Signature Version 4) if there are credentials."""
    if target.region is None:
        return {}
    key, secret = _variable("AWS_ACCESS_KEY_ID"), _variable("AWS_SECRET_ACCESS_KEY")
    payer = _variable("AWS_REQUEST_PAYER")
    headers = {"x-amz-request-payer": payer} if payer else {}
    if not key or not secret or _variable("AWS_NO_SIGN_REQUEST").lower() in _YES:
        return headers
    token = _variable("AWS_SESSION_TOKEN")
    if token:
        headers["x-amz-security-token"] = token
    return _signed(target, headers, (key, secret), now or datetime.now(UTC))


def _signed(
    target: Target, headers: Mapping[str, str], credentials: tuple[str, str], now: datetime
) -> dict[str, str]:
    """The headers with a signature: AWS, "Create a signed AWS API request"."""
    key, secret = credentials
    parts = urlsplit(target.url)
    stamp, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
    sent = {**headers, "x-amz-content-sha256": _PAYLOAD, "x-amz-date": stamp}
    signed = dict(sorted({**sent, "host": parts.netloc}.items()))
    names = ";".join(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    request = "\n".join(["GET", parts.path, parts.query, lines, names, _PAYLOAD])
    scope = f"{day}/{target.region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signing_key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing_key = hmac.new(signing_key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(signing_key, text.encode(), hashlib.sha256).hexdigest()
    sent["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return sent


def _endpoint() -> str:
    url = _variable("AWS_ENDPOINT_URL_S3") or _variable("AWS_ENDPOINT_URL")
    if not url and _variable("AWS_S3_ENDPOINT"):
        host = _variable("AWS_S3_ENDPOINT")
        is_plain = _variable("AWS_HTTPS").lower() in ("no", "false", "0", "off")
        url = host if "://" in host else f"{'http' if is_plain else 'https'}://{host}"
    return url.rstrip("/")


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()
