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
