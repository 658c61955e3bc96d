"""The hub's protocol on a local server: gated, unknown, unavailable, downloaded."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from transformers import Sam3Model

from detection.errors import SegmenterError
from detection.segmenters.sam3.weights import file_sha256, load_weights

COMMIT = "5" * 40


class Hub:
    """A fake huggingface.co with facebook/sam3: `token` has access, `files` are its content."""

    def __init__(self, url: str, files: dict[str, bytes]) -> None:
        self.url = url
        self.files = files
        self.token = "hf_may_read"
        self.asked: list[str] = []

    def respond(self, path: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of a path."""
        self.asked.append(path)
        if not path.removeprefix("/api/models").startswith("/facebook/sam3"):
            return 404, {"X-Error-Code": "RepoNotFound"}, b"Repository not found"
        if token != f"Bearer {self.token}":
            # The hub lists a gated repository for everyone, but refuses its files.
            if path.startswith("/api/"):
                return 200, {}, self._listing(path)
            status = 401 if token is None else 403
            return status, {"X-Error-Code": "GatedRepo"}, b"Access to model is restricted"
        if path.startswith("/api/"):
            return 200, {}, self._listing(path)
        content = self.files[path.rpartition("/")[2]]
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{_etag(content)}"'}, content

    def _listing(self, path: str) -> bytes:
        if "/tree/" in path:
            return json.dumps([
                {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
                for name, content in self.files.items()
            ]).encode()  # fmt: skip
        siblings = [{"rfilename": name} for name in self.files]
        return json.dumps({"id": "facebook/sam3", "sha": COMMIT, "siblings": siblings}).encode()


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def hub(model: Sam3Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    model.save_pretrained(tmp_path / "made")
    made = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}", made)
    server.RequestHandlerClass = _handler(hub.respond)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    _use_hub(hub.url, tmp_path / "cache", monkeypatch)
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


def _use_hub(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set HF_ENDPOINT and HF_HUB_CACHE, which the library reads at import."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    huggingface_hub.utils.disable_progress_bars()


def _handler(
    respond: Callable[[str, str | None], tuple[int, dict[str, str], bytes]],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = respond(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  the server requires this name

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.mark.parametrize("token", [None, "hf_of_another"])
def test_a_gated_repository_explains_access(
    hub: Hub, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(SegmenterError, match=r"gated\. Accept Meta's licence .* set HF_TOKEN"):
        load_weights("facebook/sam3")
    assert any(path.startswith("/facebook/sam3/resolve/") for path in hub.asked)


def test_a_missing_repository_is_named(hub: Hub) -> None:
    with pytest.raises(SegmenterError, match="the hub has no facebok/sam3"):
        load_weights("facebok/sam3")


def test_weights_are_downloaded_once_and_then_used_offline(
    hub: Hub, model: Sam3Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    fetched = load_weights("facebook/sam3")
    state = model.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in fetched.model.state_dict().items())
    paths = [path for path in hub.asked if path.endswith("model.safetensors")]
    assert paths
    hub.asked.clear()
    assert load_weights("facebook/sam3").sha256 == fetched.sha256
    assert not [path for path in hub.asked if path.endswith("model.safetensors")]
    _use_hub("http://127.0.0.1:9", Path(constants.HF_HUB_CACHE), monkeypatch)
    assert load_weights("facebook/sam3").sha256 == fetched.sha256


def test_an_unavailable_hub_is_reported(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_hub("http://127.0.0.1:9", tmp_path / "empty", monkeypatch)
    with pytest.raises(SegmenterError, match=r"cannot be downloaded .* no local copy"):
        load_weights("facebook/sam3")
    assert hub.asked == []


def test_downloaded_weights_equal_the_hubs(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    sha256 = load_weights("facebook/sam3").sha256
    [kept] = Path(constants.HF_HUB_CACHE).rglob("model.safetensors")
    assert sha256 == file_sha256(kept)
    assert kept.read_bytes() == hub.files["model.safetensors"]
