"""Options as users type them: what is wrong, and what to write."""

import pytest

from likeness import registry
from likeness.core.errors import BadConfig


@pytest.mark.parametrize(
    ("name", "value", "advice"), [("hidden", 64, r"write hidden=\(64,\)"), ("layer", 3, "layers")]
)
def test_a_wrong_option_is_told_with_what_is_right(name, value, advice):
    with pytest.raises(BadConfig, match=advice):
        registry.family("flow").Config.parse({name: value})


def test_a_text_that_no_file_can_hold_is_refused():
    with pytest.raises(BadConfig, match="holds halves of characters"):
        registry.family("vi").Config.parse({"target": "a\ud800:b"})
