"""The functions that SQL calls, and whether they only compute.

SpatiaLite and GDAL have a thousand functions, of which some read files, ask servers, or take a PROJ
text that names files. So those are listed that do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"'(?:[^']|'')*'|--[^\n]*|/\*.*?(?:\*/|\Z)|\s+"
    r'|(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[\w$]+)|(?P<other>.)',
    re.DOTALL,
)
# Words of SQL that a parenthesis may follow.
_WORDS = frozenset(
    """
    in and or not on using select from join where as values case when then else over filter exists
    distinct by union all except intersect having limit like glob between is cast partition order
    offset isnull notnull collate escape end materialized
    """.split()  # noqa: SIM905 - a list of a word per line would be long
)
# SQLite's own functions, and then those on geometries, of GDAL and of SpatiaLite.
_HARMLESS = frozenset(
    """
    abs avg ceil ceiling changes char coalesce concat concat_ws count date datetime floor format
    group_concat hex if ifnull iif instr json json_array json_each json_extract json_group_array
    json_group_object json_object json_quote json_type json_valid julianday length lower ltrim max
    median min mod nullif pow power printf quote replace round row_number rank dense_rank lag lead
    first_value last_value rtrim sign sqrt string_agg strftime substr substring sum time total
    trim typeof unicode unixepoch upper
    st_area st_asbinary st_astext st_boundary st_buffer st_centroid st_collect st_contains
    st_convexhull st_difference st_distance st_envelope st_equals st_geometryn st_geometrytype
    st_intersection st_intersects st_isempty st_isvalid st_length st_makevalid st_maxx st_maxy
    st_minx st_miny st_multi st_numgeometries st_perimeter st_point st_pointonsurface st_simplify
    st_srid st_touches st_union st_within st_x st_y st_reverse st_exteriorring st_snaptogrid
    area asbinary astext asgpb casttomulti casttomultipolygon casttopolygon casttoxy centroid
    geometrytype geomfromtext geomfromwkb gpkgmakepoint makevalid setsrid srid
    """.split()  # noqa: SIM905
)


def harmful_call(sql: str, *, in_view: bool) -> str | None:
    """A function in a definition that may open something; None if it has none.

    Args:
        in_view: whether all of it is evaluated, as in a view; else only generated columns are.
    """
    depth_of_column: int | None = None
    depth, before, before_that = 0, "", ""
    for part in _tokens(sql):
        if part == "(":
            depth += 1
            if depth_of_column is None and before == "as" and not in_view:
                depth_of_column = depth
            is_checked = in_view or depth_of_column is not None
            # CREATE VIEW name (columns), and WITH name (columns) AS.
            is_name = before_that in ("view", "exists", "with", "recursive")
            is_known = before in _WORDS or before in _HARMLESS or not _is_name(before)
            if is_checked and not is_known and not is_name:
                return before
        elif part == ")":
            depth -= 1
            if depth_of_column is not None and depth < depth_of_column:
                depth_of_column = None
        before, before_that = part, before
    return None


def _tokens(sql: str) -> Iterator[str]:
    for match in _TOKEN.finditer(sql):
        if match["name"] is not None:
            yield match["name"].strip('"`[]').lower() or '""'
        elif match["other"] is not None:
            yield match["other"]
        elif match[0].startswith("'"):
            yield "'"


def _is_name(part: str) -> bool:
    return len(part) > 1 or part.isalnum()
