"""What `lotline learn` says where it does not find what a model learned from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline.learning.rounds import learning_need
from pipeline.store.objects.folder_or_bucket import open_objects


def test_the_cure_is_an_option_of_learn(tmp_path: Path) -> None:
    model: Any = SimpleNamespace(id=3, facts=SimpleNamespace(data_sha256="ab" * 32))
    known, why = learning_need._events(open_objects(str(tmp_path)), model)
    assert known == set()
    assert why.startswith("what model 3 learned from is not known")
    assert why.endswith("of the training with --to")
