"""What the routes share: the database, the registry, and the imagery of each county once open."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from detection.imagery import open_imagery
from detection.imagery.interface import ImagerySource
from pipeline.open_county import open_county
from pipeline.store.counties import bound_registry


@dataclass(slots=True)
class PanelContext:
    """The panel's resources; thread-safe.

    Attributes:
        local_user: who reviews without a token, on this machine alone.
        secret: of this process, for the anti-forgery values of sessions.
    """

    engine: Engine
    registry: Path | None
    home: Path
    local_user: str
    secret: bytes
    _imagery: dict[str, ImagerySource] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def imagery(self, county: str) -> ImagerySource:
        """The imagery of a county, opened at the first call.

        Without a registry of the panel's own, by the registry that the county's batches used.

        Raises:
            RegistryError: the registry has no such county.
            ImageryError: its imagery cannot be opened.
        """
        with self._lock:
            if county not in self._imagery:
                registry = self.registry
                if registry is None:
                    with self.engine.connect() as conn:
                        registry = bound_registry(conn, county)
                opened = open_county(county, registry, self.home).county
                self._imagery[county] = open_imagery(
                    opened.imagery, allow_private=opened.allow_private
                )
            return self._imagery[county]


def panel_context(request: Request) -> PanelContext:
    """The context of a request's application."""
    context = request.app.state.context
    assert isinstance(context, PanelContext)  # noqa: S101 - `create_app` sets it
    return context


PanelResources = Annotated[PanelContext, Depends(panel_context)]
