"""Lots are split, merged, moved and vanish between two batches: every command says the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import pytest
import shapely
from user import User

from detection import sample
from parcels.measure import area_m2

COUNTY = ("--county", "here", "--registry", "registry.yaml")
GROUP = ["label", "source", "partly_imaged", "measured_by"]
# `parcels.measure` takes another way for long edges: a union and its parts differ by less.
AS_MEASURED = 5e-5


@pytest.fixture
def county(fresh: User, tmp_path_factory: pytest.TempPathFactory) -> User:
    """A measured county whose properties have parcel ids only."""
    made = sample.generate(tmp_path_factory.mktemp("made") / "county", seed=11, lots=12)
    shutil.copy(made.parcels, fresh.folder / "lots.gpkg")
    (fresh.folder / "registry.yaml").write_text(
        f"counties:\n  here:\n    path: lots.gpkg\n    imagery: {{path: '{made.imagery}'}}\n"
        "    properties: leads.csv\n"
    )
    _write_leads(fresh.folder, [f"SYN-{number:04}" for number in range(1, 13)])
    fresh.run("batch", *COUNTY, "--labels", "lawn")
    return fresh


def _write_leads(folder: Path, parcel_ids: list[str]) -> None:
    rows = "".join(f"lead-{name},{name}\n" for name in parcel_ids)
    (folder / "leads.csv").write_text(f"property_id,parcel_id\n{rows}")


def _change_lots(folder: Path) -> None:
    """Split lot 1 (35/65, the greater part under a new id), merge 2 and 3, remove 5, move 6."""
    lots = geopandas.read_file(folder / "lots.gpkg").set_index("parcel_id")
    shape = lots.geometry
    west, south, east, north = shape["SYN-0001"].bounds
    line = west + 0.35 * (east - west)
    left = shape["SYN-0001"].intersection(shapely.box(west, south, line, north))
    merged = shapely.union_all([shape["SYN-0002"].buffer(2e-5), shape["SYN-0003"].buffer(2e-5)])
    changed = {
        **shape.drop(["SYN-0002", "SYN-0003", "SYN-0005"]),
        "SYN-0001": left,
        "SYN-0091": shape["SYN-0001"].difference(left),
        "SYN-0023": shapely.convex_hull(merged).difference(shape["SYN-0001"]),
        "SYN-0006": shapely.affinity.translate(shape["SYN-0006"], 4e-5, 1e-5),
    }
    (folder / "lots.gpkg").unlink()
    frame = geopandas.GeoDataFrame(
        {"parcel_id": list(changed)}, geometry=list(changed.values()), crs="EPSG:4326"
    )
    frame.to_file(folder / "lots.gpkg")
    kept = [f"SYN-{number:04}" for number in range(1, 13)]
    _write_leads(folder, [*kept, "SYN-0091", "SYN-0023"])


def _export(user: User, kind: str) -> Any:
    out = user.folder / kind
    user.run("export", *COUNTY, "--out", str(out), "--format", kind)
    [path] = out.glob("detections_lawn.*")
    readers: dict[str, Any] = {"csv": pd.read_csv, "geoparquet": geopandas.read_parquet}
    return readers.get(kind, geopandas.read_file)(path)


def _sums(areas: list[dict[str, Any]]) -> dict[tuple[Any, ...], float]:
    return {
        (area["label"], area["source"], area["partly_imaged"], area["segmenter"]): area["area_m2"]
        + area["repeated_m2"]
        for area in areas
        if area["area_m2"]
    }


@pytest.mark.long
def test_all_commands_agree_after_lots_changed(county: User) -> None:
    before = _export(county, "geoparquet").sort_values("area_m2", ascending=False)
    largest = before.drop_duplicates("property_id").set_index("property_id")
    for lead in ("SYN-0001", "SYN-0002", "SYN-0005", "SYN-0006"):
        county.run("review", "accept", str(largest.loc[f"lead-{lead}", "detection_id"]))
    for lead in ("SYN-0003", "SYN-0004"):
        county.run("review", "reject", str(largest.loc[f"lead-{lead}", "detection_id"]))
    rejected = largest.loc[["lead-SYN-0003", "lead-SYN-0004"], "geometry"]
    accepted = largest.loc["lead-SYN-0001", "geometry"]

    _change_lots(county.folder)
    for _ in range(2):  # the second time nothing changes
        county.run("batch", *COUNTY, "--labels", "lawn", "--again", code=1)
        status = county.status(*COUNTY)
        expected = _sums(status["areas"])
        assert expected
        frames = {kind: _export(county, kind) for kind in ("geoparquet", "geojson", "csv")}
        for frame in frames.values():
            rows = frame.groupby(GROUP)["area_m2"].sum().to_dict()
            assert rows == pytest.approx(expected, rel=AS_MEASURED)
            assert set(frame["property_state"]) == {"done"}
        latest = json.loads(county.run("runs", "show", "latest", "--json").stdout)
        assert _sums(latest["areas"]) == pytest.approx(expected)

        rows = frames["geoparquet"]
        gone = {f"lead-SYN-{number:04}" for number in (2, 3, 5)}
        assert not gone & set(rows["property_id"])
        errors = pd.read_csv(county.folder / "csv" / "errors.csv")
        assert gone <= set(errors[errors["reason"] == "not_found"]["property_id"])
        found = shapely.union_all(list(rows["geometry"]))
        assert area_m2(shapely.intersection(found, shapely.union_all(list(rejected)))) < 0.05
        # The greater part of the split lawn is in the new lot, and accepted there too.
        new = rows[(rows["property_id"] == "lead-SYN-0091") & (rows["state"] == "accepted")]
        lots = geopandas.read_file(county.folder / "lots.gpkg").set_index("parcel_id").geometry
        there_m2 = area_m2(shapely.intersection(accepted, lots["SYN-0091"]))
        assert there_m2 > 20
        assert new["area_m2"].sum() == pytest.approx(there_m2, rel=0.02)
        for row in rows.itertuples():
            lot = lots[row.property_id.removeprefix("lead-")]
            assert area_m2(row.geometry.difference(lot)) < 0.05
