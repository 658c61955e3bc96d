"""The notebooks run from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from user import ROOT, clean_environment


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=str)
# The kernel's own machinery warns (of its event loop, of its sockets), which we cannot fix.
@pytest.mark.filterwarnings("ignore")
def test_notebook_runs(notebook: Path, home: Path, tmp_path: Path) -> None:
    book = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}, allow_errors=False
    )
    client.execute(env=clean_environment(LOTLINE_HOME=str(home)))
    text = "".join(
        output.get("text", "") for cell in book.cells for output in cell.get("outputs", [])
    )
    assert "lot ('SYN-" in text
    assert "buffer_30m" in text
    assert "lawn: measured" in text
    images = [o for cell in book.cells for o in cell.get("outputs", []) if "data" in o]
    assert any("image/png" in output["data"] for output in images)
