"""What templates write of values: text, whoever wrote it."""

from __future__ import annotations

import pytest
from markupsafe import Markup

from pipeline.templates import load_templates

HOSTILE = "a\x1b[31m\x9b31m\x07\0b\u202ec\u2066d\u200fe\u2028f\x85g\ud800h\U000e0001i"


@pytest.mark.parametrize("package", ["pipeline.report", "pipeline.export"])
@pytest.mark.parametrize("kind", [str, Markup])
def test_control_characters_become_spaces(package: str, kind: type[str]) -> None:
    template = load_templates(package, {}).from_string("<p>{{ value }}</p>")
    shown = template.render(value=kind(HOSTILE))
    assert shown.isprintable()
    assert shown.startswith("<p>a [31m")
    shown.encode("utf-8")


def test_line_breaks_and_markup_stay() -> None:
    template = load_templates("pipeline.report", {}).from_string("{{ own }}|{{ text }}|{{ n }}")
    shown = template.render(own=Markup("<b>\n\t</b>"), text="<b>\n</b>{{ 1 }}", n=1)
    assert shown == "<b>\n\t</b>|&lt;b&gt;\n&lt;/b&gt;{{ 1 }}|1"
