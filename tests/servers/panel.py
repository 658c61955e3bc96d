"""The review panel over a test's database, in this process, on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from servers.slow_answers import delay_answers

from pipeline.review.app import create_app
from pipeline.review.mask_service import MaskService
from pipeline.review.panel_context import PanelContext
from pipeline.store.database import Database


@contextmanager
def panel(
    database: Database,
    home: Path,
    registry: Path | None = None,
    sam3_weights: str | None = None,
) -> Iterator[str]:
    """Serve the panel; yields its address, without a slash at the end."""
    masks = MaskService(sam3_weights, database.engine, home / "models")
    context = PanelContext(database.engine, registry, home, "ann", b"a secret of the test", masks)
    config = uvicorn.Config(
        delay_answers(create_app(context)), port=0, log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        [listening] = server.servers[0].sockets
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
