"""What the environment says of the tracking server, by the names that MLflow gave its variables."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from detection.errors import TrackingError

URI: Final = "MLFLOW_TRACKING_URI"
_DEFAULT_EXPERIMENT: Final = "lotline"


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """Where a training is sent to.

    Attributes:
        uri: http:// or https://, without a slash at the end and without a password.
        authorization: the header that the server wants; "" without any.
        run_name: None is the name of the run's folder.
    """

    uri: str
    authorization: str = field(default="", repr=False)
    experiment: str = _DEFAULT_EXPERIMENT
    run_name: str | None = None

    def name_of(self, folder: Path) -> str:
        """How the run of a folder is called."""
        return self.run_name or folder.resolve().name


def tracking_settings(environment: Mapping[str, str]) -> TrackingSettings | None:
    """The settings of an environment; None if no server is named.

    Raises:
        TrackingError: something is named that is not a tracking server.
    """
    uri = environment.get(URI, "").strip().rstrip("/")
    if not uri:
        return None
    try:
        parts = urlsplit(uri)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise TrackingError(f"{URI} is not an address ({error}): nothing is sent") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TrackingError(
            f"{URI} is not the address of a tracking server (http://… or https://…): nothing is "
            "sent. `mlflow server` serves a folder or a database"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return TrackingSettings(
        f"{parts.scheme}://{host}{port}{parts.path}",
        _authorization(
            environment.get("MLFLOW_TRACKING_USERNAME") or parts.username,
            environment.get("MLFLOW_TRACKING_PASSWORD") or parts.password,
            environment.get("MLFLOW_TRACKING_TOKEN"),
        ),
        environment.get("MLFLOW_EXPERIMENT_NAME", "").strip() or _DEFAULT_EXPERIMENT,
        environment.get("MLFLOW_RUN_NAME", "").strip() or None,
    )


def _authorization(user: str | None, password: str | None, token: str | None) -> str:
    if user:
        pair = f"{user}:{password or ''}"
        return f"Basic {b64encode(pair.encode()).decode()}"
    return f"Bearer {token}" if token else ""
