"""Why a law cannot classify, in words that name the way out."""

import numpy as np
import pandas as pd
import pytest

import likeness as lk
from likeness.core.errors import Unsupported


def test_ordered_levels_as_a_condition_are_named_with_the_way_out() -> None:
    r = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": r.normal(size=200), "b": r.normal(size=200), "quality": r.integers(3, 9, 200)}
    )
    with pytest.raises(
        Unsupported, match=r"'quality' has ordered levels.*columns={'quality': 'nominal'}"
    ):
        lk.fit("gaussian", lk.load(frame, given="quality")).classify(frame[:3])
    named = lk.load(frame, given="quality", columns={"quality": "nominal"})
    found = lk.fit("gaussian", named).classify(frame[:3])
    assert found.labels == ("3", "4", "5", "6", "7", "8")
    np.testing.assert_allclose(found.probabilities.sum(-1), 1)
