"""Which extra of Lotline installs a package that is missing.

`pip install lotline` brings `parcels` alone. What its extras bring is read from the metadata of the
distribution, so that this module knows no package by name.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires

_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")
# The most specific first: `pipeline` includes `detection`, and `dev` includes all.
_IN_ORDER = ("detection", "pipeline", "ray", "review", "runpod")
# Our own packages: absent only if the installation is broken.
_OWN = ("parcels", "detection", "pipeline")


def missing_extra(error: ModuleNotFoundError, wanted: str | None = None) -> str | None:
    """The message for a package that is not installed; None if no extra of Lotline brings it.

    Args:
        wanted: the extra that the caller needs as a whole; None names the one with the package.
    """
    module = (error.name or "").partition(".")[0]
    extra = _extra_of(module)
    if extra is None:
        return None
    extra = wanted or extra
    return (
        f"the Python package {module} is not installed; it belongs to the extra {extra}: run "
        f"pip install 'lotline[{extra}]'"
    )


def _extra_of(module: str) -> str | None:
    if not module or module in _OWN:
        return None
    try:
        lines = requires("lotline") or []
    except PackageNotFoundError:  # a folder of source code that is not installed
        return "pipeline"
    found = set()
    for line in lines:
        extra = _EXTRA.search(line)
        name = re.match(r"[\w.-]+", line)
        if extra and name and _normalized(name[0]) == _normalized(module):
            found.add(extra[1])
    return next((extra for extra in _IN_ORDER if extra in found), None)


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
