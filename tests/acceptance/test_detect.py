"""`lotline detect`: images in; masks, polygons and pictures out; no county, no database."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasters import write_tiff
from smalldisk import small_disk
from user import User, clean_environment


def _user(folder: Path) -> User:
    # A database that nobody answers for: the command must not look for one.
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    return User(folder, clean_environment(LOTLINE_HOME=str(folder / "home"), DATABASE_URL=nowhere))


def _garden() -> np.ndarray:
    """(3, 200, 300): smooth green lawn on the left half, grey paving on the right."""
    pixels = np.empty((3, 200, 300), np.uint8)
    pixels[:, :, :150] = np.array([90, 140, 70])[:, None, None]
    pixels[:, :, 150:] = np.array([130, 130, 135])[:, None, None]
    noise = np.random.default_rng(0).integers(0, 4, pixels.shape)
    return (pixels + noise).astype(np.uint8)


def test_images_of_every_kind_in_one_command(tmp_path: Path) -> None:
    user = _user(tmp_path)
    images = tmp_path / "images"
    images.mkdir()
    rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    write_tiff(images / "map.tif", _garden(), colours=rgb)
    Image.fromarray(np.moveaxis(_garden(), 0, -1)).save(images / "photo.png")
    (images / "broken.tif").write_bytes((images / "map.tif").read_bytes()[:5000])

    detect = ("detect", "images", "--label", "lawn", "--segmenter", "spectral", "--out", "found")
    done = user.run(*detect, code=1)

    assert "images/broken.tif" in done.stderr
    assert "2 done, 1 failed" in done.stdout
    assert "a baseline without weights" in done.stdout
    assert "--gsd-m" in done.stdout
    found = tmp_path / "found"
    with rasterio.open(found / "map.lawn.mask.tif") as mask:
        inside = mask.read(1)
        assert mask.crs is not None
    assert (inside[5:-5, 5:140] == 1).mean() > 0.95
    assert (inside[:, 160:] == 0).all()
    for name in ("map", "photo"):
        assert json.loads((found / f"{name}.geojson").read_text())["features"]
        with Image.open(found / f"{name}.overlay.png") as overlay:
            assert overlay.width >= 300
    summary = json.loads((found / "summary.json").read_text())
    states = {Path(each["image"]).name: each["status"] for each in summary["images"]}
    assert states == {"broken.tif": "failed", "map.tif": "done", "photo.png": "done"}

    (images / "broken.tif").unlink()
    again = user.run(*detect)
    assert "2 skipped" in again.stdout


def test_wrong_arguments_are_refused_before_any_work(tmp_path: Path) -> None:
    user = _user(tmp_path)
    Image.fromarray(np.moveaxis(_garden(), 0, -1)).save(tmp_path / "photo.png")
    for arguments, problem in (
        (("nowhere.tif",), "there is no file or folder nowhere.tif"),
        (("photo.png", "--label", "moat"), 'give it a prompt, as --label "moat=..." does'),
        (("photo.png", "--prompt", "fuse cutout", "--segmenter", "spectral"), "cannot detect"),
        (("photo.png", "--segmenter", "sam4"), "sam4"),
        (("photo.png", "--gsd-m", "0"), "--gsd-m"),
    ):
        done = user.run("detect", *arguments, code=2)
        assert problem in done.stderr
    assert not (tmp_path / "out").exists()


def _started(user: User, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*user.command, *arguments], cwd=user.folder, env=user.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _wait_until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    while process.poll() is None and not happened():
        time.sleep(0.005)


def test_ctrl_c_leaves_no_half_file_and_the_same_command_continues(tmp_path: Path) -> None:
    user = _user(tmp_path)
    wide = np.tile(_garden(), (1, 5, 4))
    rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    write_tiff(tmp_path / "a.tif", _garden(), colours=rgb)
    write_tiff(tmp_path / "b.tif", wide, colours=rgb)
    out = tmp_path / "found"
    detect = ("detect", "a.tif", "b.tif", "--label", "lawn", "--segmenter", "spectral")
    for when in ("a.geojson", ".b.lawn.mask.tif.*.part", ".b.geojson.*.part"):
        process = _started(user, *detect, "--out", "found", "--again")
        _wait_until(process, lambda when=when: any(out.glob(when)))
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=120)
        assert process.returncode == 130, messages
        assert "The same command continues" in messages
        assert not list(out.glob(".*")), "a temporary file is left"
        for geojson in out.glob("*.geojson"):
            json.loads(geojson.read_text())
        for mask in out.glob("*.tif"):
            with rasterio.open(mask) as opened:
                opened.read()
        shutil.rmtree(out)
    user.run(*detect, "--out", "found")
    assert "2 skipped" in user.run(*detect, "--out", "found").stdout


def test_ctrl_c_while_the_command_is_imported(tmp_path: Path) -> None:
    for library in ("_multiarray_umath", "shapely", "rasterio"):
        process = _started(_user(tmp_path), "detect", "a.tif")
        maps = Path(f"/proc/{process.pid}/maps")
        _wait_until(process, lambda maps=maps, library=library: library in maps.read_text())
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=120)
        assert process.returncode in (130, 2), messages  # 2 where it was fast: there is no a.tif
        assert "Traceback" not in messages


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path: Path) -> None:
    user = _user(tmp_path)
    rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    noise = np.random.default_rng(0).integers(0, 255, (3, 700, 700)).astype(np.uint8)
    write_tiff(tmp_path / "a.tif", noise, colours=rgb)
    with small_disk(tmp_path / "small", "200k") as small:
        detect = ("detect", "a.tif", "--segmenter", "spectral", "--out", "small/found")
        failed = user.run(*detect, code=1)
        assert "No space left on device" in failed.stderr
        left = {path.name for path in (small / "found").iterdir()}
        assert not any(name.startswith(".") or name.endswith(".geojson") for name in left)
