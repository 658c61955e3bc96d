"""registry.yaml -> validated counties. An entry needs only `url` and `layer`, or `path`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from parcels.county import County, Imagery, Layer, ParcelFields, Synthetic
from parcels.errors import RegistryError

_HERE = Path(__file__).parent
_MODELS: dict[str, type[BaseModel]] = {
    "": County,
    "fields": ParcelFields,
    "imagery": Imagery,
    "synthetic": Synthetic,
    "alternates": Layer,
}
_WANTED = {
    "key": "write the county's name with a-z, digits, '-' and '_' only",
    "fips": "write five digits in quotes",
    "state": "write two capital letters",
    "layer": "write the layer's number, for example layer: 0",
}


class Registry(Mapping[str, County]):
    """The counties of a registry file by their keys."""

    def __init__(self, counties: Mapping[str, County], path: Path) -> None:
        self._counties = dict(counties)
        self.path = path

    def __getitem__(self, key: str) -> County:
        return self._counties[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counties)

    def __len__(self) -> int:
        return len(self._counties)

    def county(self, key: str) -> County:
        """The county of this key.

        Raises:
            RegistryError: there is none; it lists those there are.
        """
        if key in self._counties:
            return self._counties[key]
        close = get_close_matches(key.lower(), self._counties, n=3)
        names = ", ".join(sorted(self._counties)[:50]) or "none yet"
        guess = f"did you mean {_either(close)}? " if close else ""
        raise RegistryError(
            f"{self.path}: there is no county {key!r}; {guess}The counties are: {names}. "
            "Add an entry to the file, or name another file"
        )


def load_registry(path: Path | str | None = None) -> Registry:
    """Read and validate a registry file; None reads the one that is shipped.

    Relative paths in the file are taken from its folder.

    Raises:
        RegistryError: the file cannot be read, or an entry is wrong; a line for each mistake,
            with file, county, key and what to write instead.
    """
    file = _shipped() if path is None else Path(path)
    entries = _entries(file)
    counties: dict[str, County] = {}
    mistakes: list[str] = []
    for key, entry in entries.items():
        try:
            counties[str(key)] = _county(str(key), entry, file.absolute().parent)
        except ValidationError as error:
            lines = (_explain(detail) for detail in error.errors(include_url=False))
            # A list that is too short is an error for each item; it is said once.
            mistakes += [f"{file}: county {str(key)!r}: {line}" for line in dict.fromkeys(lines)]
        except RegistryError as error:
            mistakes.append(f"{file}: county {str(key)!r}: {error}")
    if mistakes:
        raise RegistryError("\n".join(mistakes))
    return Registry(counties, file)


def _shipped() -> Path:
    # A wheel carries the file inside the package; in a clone it lies at the root.
    packed = _HERE / "data" / "registry.yaml"
    return packed if packed.exists() else _HERE.parent / "registry.yaml"


def _entries(file: Path) -> Mapping[Any, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RegistryError(f"{file}: there is no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{file}: cannot be read as UTF-8 text: {error}") from error
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader, see below
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        problem = error.problem or "cannot be read"
        raise RegistryError(f"{file}:{line} not valid YAML: {problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise RegistryError(f"{file}: not valid YAML: {error}") from error
    if not isinstance(content, dict) or "counties" not in content:
        raise RegistryError(f"{file}: 'counties:' is missing; write the entries under it")
    for key in content:
        if key != "counties":
            raise RegistryError(f"{file}: {key!r} is not a key; only 'counties' is")
    entries = content["counties"] if content["counties"] is not None else {}
    if not isinstance(entries, dict):
        raise RegistryError(f"{file}: 'counties' must map a name to an entry for each county")
    return entries


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader in C, with which a key written twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if key_node.value in seen:
                problem = f"{key_node.value!r} is there twice; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _county(key: str, entry: object, folder: Path) -> County:
    if not isinstance(entry, dict):
        raise RegistryError("is not an entry; write 'url' and 'layer', or 'path', under it")
    if "key" in entry:
        raise RegistryError("'key' is not a key; the entry's own name is its key")
    named = {str(name): value for name, value in entry.items()}
    return County.model_validate({**named, "key": key}, context={"folder": folder})


def _explain(detail: ErrorDetails) -> str:
    """One line for a pydantic error: which key, and what to write instead."""
    loc = detail["loc"]
    name = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).lstrip(".")
    given, kind = detail["input"], detail["type"]
    if kind == "extra_forbidden":
        known = _MODELS[str(loc[0]) if len(loc) > 1 else ""].model_fields.keys() - {"key"}
        close = get_close_matches(str(loc[-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the keys are {_listed(known)}"
        return f"{name!r} is not a key; {hint}"
    if loc[:1] == ("extent",) and kind != "value_error":
        return "'extent': write [west, south, east, north] in degrees"
    if kind == "missing":
        return f"{name!r} is missing; write it"
    if kind == "value_error":
        reason = str(detail["ctx"]["error"])
        return f"{name!r}: {reason}" if name else reason
    if name in _WANTED:
        return f"{name!r}: {given!r} is wrong; {_WANTED[name]}"
    return f"{name!r}: {given!r} is wrong: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _either(names: list[str]) -> str:
    return " or ".join(repr(name) for name in names)
