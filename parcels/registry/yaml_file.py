"""A registry file -> its entries as written. Hostile YAML is refused, not executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from parcels.errors import RegistryError
from parcels.regular_file import other_than_file

# A thousand counties with every key are about 1 MB.
_MAX_BYTES = 16 * 1024 * 1024
# Each use of an alias counts: a few nested ones can expand to billions ("billion laughs").
_MAX_NODES = 1_000_000
# An entry is at most 5 levels deep; libyaml crashes the process at about ten thousand.
_MAX_DEPTH = 50


def read_entries(file: Path) -> dict[str, Any]:
    """The entries under `counties` of a registry file: name -> entry, not validated.

    Raises:
        RegistryError: it cannot be read, or is not a registry.
    """
    return parse_entries(read_text(file), file)


def parse_entries(text: str, file: Path) -> dict[str, Any]:
    """The entries in the text of a registry; `file` is named in the messages.

    Raises:
        RegistryError: it is not a registry.
    """
    content = parse_yaml(text, file)
    if not isinstance(content, dict) or "counties" not in content:
        raise RegistryError(f"{file}: 'counties:' is missing; write the entries under it")
    for key in content:
        if key != "counties":
            raise RegistryError(f"{file}: {key!r} is not a key; the only key is 'counties'")
    entries = content["counties"] if content["counties"] is not None else {}
    if not isinstance(entries, dict):
        raise RegistryError(f"{file}: 'counties' must map a name to an entry for each county")
    return {str(key): entry for key, entry in entries.items()}


def read_text(file: Path) -> str:
    """The text of a file with its line endings unchanged.

    Raises:
        RegistryError: it cannot be read, or is too long for a registry.
    """
    try:
        if (kind := other_than_file(file)) is not None:
            raise RegistryError(f"{file}: this is {kind}, not a file; check the path")
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise RegistryError(
                f"{file}: is longer than {_MAX_BYTES // 2**20} MiB; check that it is a registry"
            )
        return content.decode("utf-8")
    except FileNotFoundError:
        raise RegistryError(f"{file}: no such file; check the path") from None
    except UnicodeDecodeError as error:
        raise RegistryError(f"{file}: cannot be read as UTF-8 text: {error}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise RegistryError(f"{str(file)!r}: cannot be read: {error}") from error


def parse_yaml(text: str, file: Path) -> Any:  # noqa: ANN401
    """The content of a YAML file in plain values; `file` is named in the messages.

    Raises:
        RegistryError: not valid YAML, a duplicate key, or a file built to exhaust memory.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if "&" in text and _expanded_size(node, {}) > _MAX_NODES:
            raise RegistryError(
                f"{file}: its aliases expand to more than {_MAX_NODES:,} values; "
                "write the values themselves"
            )
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        problem = error.problem or "cannot be read"
        raise RegistryError(f"{file}:{line} not valid YAML: {problem}") from error
    except RecursionError:
        raise RegistryError(f"{file}: is nested too deeply; an entry has three levels") from None
    except (yaml.YAMLError, ValueError) as error:
        raise RegistryError(f"{file}: not valid YAML: {error}") from error
    finally:
        loader.dispose()


def _expanded_size(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of nodes with every alias expanded.

    Raises:
        RecursionError: a node is nested too deeply, or contains itself.
    """
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, yaml.MappingNode):
        size = 1 + sum(
            _expanded_size(key, known) + _expanded_size(value, known) for key, value in node.value
        )
    elif isinstance(node, yaml.SequenceNode):
        size = 1 + sum(_expanded_size(item, known) for item in node.value)
    else:
        size = 1
    known[id(node)] = size
    return size


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader (libyaml if available); a duplicate key is an error."""

    _depth = 0

    def descend_resolver(self, current_node: yaml.Node | None, current_index: object) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise RecursionError
        super().descend_resolver(current_node, current_index)

    def ascend_resolver(self) -> None:
        self._depth -= 1
        super().ascend_resolver()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                problem = "a list or a mapping cannot be a key; write a name"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if key_node.value in seen:
                problem = f"{key_node.value!r} is a duplicate key; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping
