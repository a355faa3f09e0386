"""What a saved model's config.json says: each option once, under what it is for."""

import itertools
import json

import pytest

from likeness import registry
from likeness.check.spaces import GIVENS, SPACES
from likeness.registry import store

FAMILIES = sorted(
    name for name, model in registry.load_all().items() if model.__module__.startswith("likeness.")
)

NEEDED = {"vi": {"target": "package.module:function"}}  # what a family cannot be built without


@pytest.mark.parametrize("family", FAMILIES)
def test_family_objective_and_optimiser_are_told_apart(family, tmp_path):
    chosen, cells = registry.family(family), itertools.product(SPACES.values(), GIVENS.values())
    config = chosen.Config(**NEEDED.get(family, {}))
    space, given = next((s(), g()) for s, g in cells if chosen.accepts(config, s(), g()))
    model = registry.build(family, config, space, given)
    saved = json.loads((store.save(model, tmp_path) / "config.json").read_text(encoding="utf-8"))
    parts = [saved[section] for section in ("family", "objective", "optimiser")]
    assert sorted(name for part in parts for name in part) == sorted(
        type(model.config).model_fields
    )
    assert "lr" not in saved["family"]
