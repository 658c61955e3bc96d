"""One name, one thing: types, and modules beside each other."""

from __future__ import annotations

import ast
from collections import defaultdict
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("parcels", "detection", "pipeline")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_no_type_name_means_two_things() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path.relative_to(ROOT)))
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name[:1].isupper() and not name.isupper() and "TypeVar" not in ast.dump(node):
                    homes[name].append(str(path.relative_to(ROOT)))
    assert len(homes) > 200
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_no_module_is_named_like_its_neighbour() -> None:
    """Neither a singular beside a plural, nor a word beside its participle."""
    alike = []
    engine = {"engine", "engines"}  # the interface, and the folder of its implementations
    for folder in {path.parent for path in FILES}:
        stems = sorted({path.stem for path in folder.iterdir() if path.suffix == ".py"})
        stems += [path.name for path in folder.iterdir() if (path / "__init__.py").exists()]
        alike += [
            f"{folder.relative_to(ROOT)}: {one}, {other}"
            for one, other in combinations(stems, 2)
            if {one, other} != engine and _alike(one, other)
        ]
    assert alike == []


def _alike(one: str, other: str) -> bool:
    return any(
        longer == shorter + ending
        for ending in ("s", "d", "ed", "ing", "ments")
        for longer, shorter in ((one, other), (other, one))
    )


def test_no_module_is_named_like_what_its_package_exports() -> None:
    """Else `import package.name as module` is the function and not the module."""
    clashes = []
    for init in (path for path in FILES if path.name == "__init__.py"):
        tree = ast.parse(init.read_text(encoding="utf-8"))
        names = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        modules = {path.stem for path in init.parent.glob("*.py")} - {"__init__"}
        clashes += [f"{init.parent.relative_to(ROOT)}.{name}" for name in names & modules]
    assert clashes == []
