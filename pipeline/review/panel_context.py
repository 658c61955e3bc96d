"""What the routes share: the database, the registry, and the imagery of each county once open."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from detection.clip import LotLines
from detection.county_labels import CountyLabels
from detection.county_settings import lot_lines, open_county_imagery
from detection.imagery.interface import ImagerySource
from detection.labels import LABELS
from detection.registry.county import DetectionCounty
from parcels.errors import RegistryError
from pipeline.county_entry import find_county
from pipeline.errors import PipelineError
from pipeline.open_county import open_county
from pipeline.review.mask_service import MaskService
from pipeline.store.counties import bound_registry
from pipeline.store.reviews.outline_checks import OutlineRules

log = logging.getLogger(__name__)


@dataclass(slots=True)
class PanelContext:
    """The panel's resources; thread-safe.

    Attributes:
        local_user: who reviews without a token, on this machine alone.
        secret: of this process, for the anti-forgery values of sessions.
        masks: click to mask.
        always_needs_token: other machines can reach the panel: without a token nobody is let in,
            also when the last token is revoked while it runs.
    """

    engine: Engine
    registry: Path | None
    home: Path
    local_user: str
    secret: bytes
    masks: MaskService = field(default_factory=MaskService)
    always_needs_token: bool = False
    _counties: dict[str, DetectionCounty] = field(default_factory=dict)
    _imagery: dict[str, ImagerySource] = field(default_factory=dict)
    _synthetic: dict[str, bool] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _opening: dict[str, Lock] = field(default_factory=dict)

    def imagery(self, county: str) -> ImagerySource:
        """The imagery of a county, opened at the first call.

        Without a registry of the panel's own, by the registry that the county's batches used.

        Raises:
            RegistryError: the registry has no such county.
            ImageryError: its imagery cannot be opened.
        """
        with self._lock:
            opened = self._opened(county)
            opening = self._opening.setdefault(county, Lock())
        # Its server may be slow to answer: what people decide, and other counties, wait for none.
        with opening:
            if county not in self._imagery:
                self._imagery[county] = open_county_imagery(opened)
            return self._imagery[county]

    def county(self, county: str) -> DetectionCounty:
        """A county's entry, with the files of a synthetic one in place.

        Raises:
            RegistryError: the registry has no such county.
        """
        with self._lock:
            return self._opened(county)

    def is_synthetic(self, county: str) -> bool | None:
        """Whether a county is generated, not a real place; None if its registry does not say."""
        if county not in self._synthetic:
            try:
                entry = find_county(county, self._registry_of(county))
            except (RegistryError, PipelineError) as error:
                log.warning("whether %s is synthetic is not known: %s", county, error)
                return None
            self._synthetic[county] = entry.county.synthetic is not None
        return self._synthetic[county]

    def outline_rules(self, county: str) -> OutlineRules:
        """The labels and lot lines of a county, by which drawn outlines are checked.

        Those of Lotline where the registry has no such county any more: what people decide is
        saved all the same.
        """
        try:
            with self._lock:
                opened = self._opened(county)
        except RegistryError as error:
            log.warning("outlines in %s are checked by the default labels: %s", county, error)
            return OutlineRules(LABELS, LotLines())
        return OutlineRules(CountyLabels(opened).known, lot_lines(opened))

    def _opened(self, county: str) -> DetectionCounty:
        if county not in self._counties:
            registry = self._registry_of(county)
            self._counties[county] = open_county(county, registry, self.home).county
        return self._counties[county]

    def _registry_of(self, county: str) -> Path | None:
        if self.registry is not None:
            return self.registry
        with self.engine.connect() as conn:
            return bound_registry(conn, county)


def panel_context(request: Request) -> PanelContext:
    """The context of a request's application."""
    context = request.app.state.context
    assert isinstance(context, PanelContext)  # noqa: S101 - `create_app` sets it
    return context


PanelResources = Annotated[PanelContext, Depends(panel_context)]
