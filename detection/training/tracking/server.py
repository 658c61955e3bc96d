"""The part of MLflow's REST interface (2.0) that a training needs, without MLflow's packages.

https://mlflow.org/docs/latest/rest-api.html. Those packages would add 70 MB to each installation.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from detection.errors import TrackingError, TrackingRefused
from detection.training.tracking.settings import TrackingSettings

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

MAX_METRICS: Final = 1000
MAX_PARAMS: Final = 100
"""What one request may have."""

# A training never waits for it, but its end does.
_TIMEOUT_S: Final = 5.0
_MAX_ANSWER_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """A value of a curve, at a step of the training."""

    key: str
    value: float
    step: int
    timestamp_ms: int


class _NoRedirect(HTTPRedirectHandler):
    """The authorization is for the named server only."""

    def redirect_request(self, *_: object) -> None:
        return None


class MlflowServer:
    """A tracking server.

    Every method raises TrackingError if the server does not answer, or refuses.
    """

    def __init__(self, settings: TrackingSettings) -> None:
        self.settings = settings
        self._opener = build_opener(_NoRedirect)

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is created if there is none."""
        found = self._find("experiments/get-by-name", {"experiment_name": name})
        if found is None:
            return str(self._post("experiments/create", {"name": name})["experiment_id"])
        experiment = found["experiment"]
        if experiment.get("lifecycle_stage") == "deleted":
            raise TrackingError(
                f"the experiment {name!r} of {self.settings.uri} is deleted: restore it, or set "
                "MLFLOW_EXPERIMENT_NAME"
            )
        return str(experiment["experiment_id"])

    def find_run(self, experiment: str, tag: str, value: str) -> str | None:
        """The id of the run that has a tag."""
        query = {
            "experiment_ids": [experiment], "filter": f"tags.`{tag}` = '{value}'", "max_results": 1,
        }  # fmt: skip
        runs = self._post("runs/search", query).get("runs") or []
        return str(runs[0]["info"]["run_id"]) if runs else None

    def create_run(
        self, experiment: str, name: str, started_ms: int, tags: Mapping[str, str]
    ) -> str:
        """The id of a new run."""
        body = {
            "experiment_id": experiment, "run_name": name, "start_time": started_ms,
            "tags": _pairs({"mlflow.runName": name, **tags}),
        }  # fmt: skip
        return str(self._post("runs/create", body)["run"]["info"]["run_id"])

    def log(
        self,
        run_id: str,
        metrics: Sequence[MetricPoint] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add to a run; at most `MAX_METRICS` and `MAX_PARAMS` at once."""
        points = [
            {"key": each.key, "value": each.value, "step": each.step,
             "timestamp": each.timestamp_ms} for each in metrics
        ]  # fmt: skip
        body = {"run_id": run_id, "metrics": points}
        self._post("runs/log-batch", body | {"params": _pairs(params), "tags": _pairs(tags)})

    def set_status(self, run_id: str, status: RunStatus, ended_ms: int | None) -> None:
        """Say how a run goes, or how it ended."""
        end = {} if ended_ms is None else {"end_time": ended_ms}
        self._post("runs/update", {"run_id": run_id, "status": status, **end})

    def _find(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        try:
            return self._call(f"{path}?{urlencode(query)}")
        except _DoesNotExist:
            return None

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._call(path, json.dumps(body, allow_nan=False).encode())

    def _call(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        where = self.settings.uri
        request = Request(f"{where}/api/2.0/mlflow/{path}", body)  # noqa: S310  http or https
        request.add_header("Content-Type", "application/json")
        if self.settings.authorization:
            request.add_header("Authorization", self.settings.authorization)
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                content = json.loads(answer.read(_MAX_ANSWER_BYTES) or b"{}")
        except HTTPError as error:
            with error:
                raise _refusal(where, error) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise TrackingError(f"the MLflow server {where} does not answer ({reason})") from error
        if not isinstance(content, dict):
            raise TrackingError(f"{where} is not an MLflow server: it answers something else")
        return content


class _DoesNotExist(TrackingRefused):
    """The server has no such thing."""


def _refusal(where: str, error: HTTPError) -> TrackingRefused:
    try:
        content = json.loads(error.read(_MAX_ANSWER_BYTES))
        code, message = str(content["error_code"]), str(content.get("message", ""))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        code, message = "", ""
    text = " ".join(f"{code} {message}".split())[:300] or error.reason
    kind = _DoesNotExist if code == "RESOURCE_DOES_NOT_EXIST" else TrackingRefused
    return kind(f"the MLflow server {where} refuses ({error.code} {text})")


def _pairs(values: Mapping[str, str] | None) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in (values or {}).items()]
