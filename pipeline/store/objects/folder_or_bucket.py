"""An object store: a folder, or a bucket of any S3-compatible server.

An object appears complete or not at all. Credentials come from the standard chain: environment,
profile, container or instance role. `AWS_ENDPOINT_URL` names a server that is not Amazon's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

from detection.training.atomic import DRAFT_PREFIX, write_bytes
from pipeline.errors import ObjectStoreError
from pipeline.redaction import redactor
from pipeline.store.disk_full import reports_disk_full

if TYPE_CHECKING:
    from obstore.store import ObjectStore as ObstoreStore

S3: Final = "s3://"
# Of a request that the server cannot serve now (503).
_RETRIES: Final = 6
_RETRY_TIMEOUT: Final = timedelta(seconds=60)


class ObjectStore(Protocol):
    """Bytes by key; a key has parts separated by "/"."""

    @property
    def address(self) -> str:
        """The folder or the URL, without credentials."""
        ...

    def get(self, key: str) -> bytes | None:
        """The object of a key; None if there is none.

        Raises:
            ObjectStoreError: it cannot be read.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object, or replace it.

        Raises:
            ObjectStoreError: it cannot be written; what was there stays.
        """
        ...

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object unless the key has one; whether it was written.

        Of several that write the same key at the same time, one does.

        Raises:
            ObjectStoreError: as `put`.
        """
        ...

    def listed(self, prefix: str) -> dict[str, datetime]:
        """The keys below a prefix that ends with "/", and when each was written (UTC).

        Raises:
            ObjectStoreError: they cannot be listed.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete an object, if there is one.

        Raises:
            ObjectStoreError: it cannot be deleted.
        """
        ...


def open_objects(address: str) -> ObjectStore:
    """Open a folder, which is made at the first write, or `s3://bucket/prefix`.

    Raises:
        ObjectStoreError: another kind of address, or the package for S3 is not installed.
    """
    if address.startswith(S3):
        return _S3Objects(address)
    if "://" in address:
        raise ObjectStoreError(f"{redactor.text(address)!r} is neither a folder nor s3://bucket/…")
    return _FolderObjects(Path(address).expanduser())


def lasting_address(address: str) -> str:
    """An address that means the same in another working folder."""
    return address if address.startswith(S3) else str(Path(address).expanduser().resolve())


def content_key(folder: str, data: bytes, suffix: str) -> str:
    """The key of an object that is named by the SHA-256 of its bytes."""
    digest = hashlib.sha256(data).hexdigest()
    return f"{folder}/{digest[:2]}/{digest}{suffix}"


def content_sha256(key: str) -> str:
    """The hash that a key of `content_key` names."""
    return key.rpartition("/")[2].partition(".")[0]


class _FolderObjects:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def address(self) -> str:
        return str(self._folder)

    def get(self, key: str) -> bytes | None:
        with self._explained("read", key):
            try:
                return (self._folder / key).read_bytes()
            except FileNotFoundError:
                return None

    def put(self, key: str, data: bytes) -> None:
        path = self._folder / key
        with self._explained("written", key):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, data)

    def put_new(self, key: str, data: bytes) -> bool:
        path = self._folder / key
        with self._explained("written", key):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"{DRAFT_PREFIX}{path.name}-{uuid4().hex}")
            try:
                write_bytes(draft, data)
                path.hardlink_to(draft)  # unlike a rename, it replaces nothing
            except FileExistsError:
                return False
            finally:
                draft.unlink(missing_ok=True)
        return True

    def listed(self, prefix: str) -> dict[str, datetime]:
        found = {}
        with self._explained("listed", prefix):
            for path in (self._folder / prefix).rglob("*"):
                with suppress(FileNotFoundError):  # a draft that was completed meanwhile
                    if path.is_file() and not path.name.startswith(DRAFT_PREFIX):
                        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                        found[path.relative_to(self._folder).as_posix()] = at
        return found

    def delete(self, key: str) -> None:
        with self._explained("deleted", key):
            (self._folder / key).unlink(missing_ok=True)

    @contextmanager
    def _explained(self, done: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            cure = ": free some space there" if reports_disk_full(str(error)) else ""
            raise ObjectStoreError(
                f"{self._folder / key} cannot be {done} ({error.strerror or error}){cure}"
            ) from error


class _S3Objects:
    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._store = _open_s3(self.address)

    def get(self, key: str) -> bytes | None:
        import obstore
        from obstore.exceptions import NotFoundError

        with self._explained("read", key):
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except (NotFoundError, FileNotFoundError):
                return None

    def put(self, key: str, data: bytes) -> None:
        import obstore

        with self._explained("written", key):
            obstore.put(self._store, key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._explained("written", key):
            try:
                obstore.put(self._store, key, data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def listed(self, prefix: str) -> dict[str, datetime]:
        import obstore

        with self._explained("listed", prefix):
            listed = obstore.list(self._store, prefix.rstrip("/"))
            return {str(each["path"]): each["last_modified"] for chunk in listed for each in chunk}

    def delete(self, key: str) -> None:
        import obstore

        with self._explained("deleted", key):
            obstore.delete(self._store, key)

    @contextmanager
    def _explained(self, done: str, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            reason = redactor.text(" ".join(str(error).split())[:300])
            raise ObjectStoreError(
                f"{self.address}/{key} cannot be {done} ({reason}): check the bucket's name, the "
                "credentials, and AWS_ENDPOINT_URL for a server that is not Amazon's"
            ) from error


def _open_s3(address: str) -> ObstoreStore:
    try:
        from boto3.session import Session
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        raise ObjectStoreError(f"{address} needs more packages: install lotline[s3]") from error
    session = Session()
    if session.get_credentials() is None:
        raise ObjectStoreError(
            f"there are no credentials for {address}: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    try:
        store = S3Store.from_url(
            address,
            config={"endpoint": endpoint} if endpoint else {},
            client_options={"allow_http": bool(endpoint and endpoint.startswith("http://"))},
            retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_TIMEOUT},
            credential_provider=Boto3CredentialProvider(session),
        )
    except (BaseError, ValueError) as error:
        raise ObjectStoreError(
            f"{address} cannot be opened: {redactor.text(str(error))}"
        ) from error
    return store
