"""Families that model where an item ends: all texts up to the longest have a mass of one, the empty one included."""

import itertools

import pytest
import torch

import likeness as lk
from likeness import registry
from likeness.heads.ends import log_end, stop_logits

LONGEST = 4
OPTIONS = {
    "autoregressive": ({"net": "masked"}, {"net": "sequence", "width": 8, "depth": 1}),
    "markov": ({},),
}
MODELS = {
    name: model
    for name, model in sorted(registry.load_all().items())
    if "end" in model.Config.model_fields
}
CELLS = [(name, options) for name in MODELS for options in OPTIONS.get(name, ({},))]
EVERY = [
    "".join(letters) for n in range(LONGEST + 1) for letters in itertools.product("ab", repeat=n)
]


def texts(share: float) -> list[str]:
    """Random texts, of which such a share is empty."""
    g = torch.Generator().manual_seed(0)
    size = torch.randint(1, LONGEST + 1, (150,), generator=g) * (
        torch.rand(150, generator=g) >= share
    )
    letters = torch.randint(0, 2, (150, LONGEST), generator=g)
    return [
        "".join("ab"[code] for code in row[:n])
        for row, n in zip(letters.tolist(), size.tolist(), strict=True)
    ]


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize(("name", "options"), CELLS)
def test_all_texts_and_the_empty_one_have_a_mass_of_one(name, options, share):
    items = texts(share)
    model = lk.fit(name, items, budget="20 steps", end=True, seed=0, progress=False, **options)
    answer = model.log_prob(EVERY)
    assert float(answer.value.double().exp().sum()) == pytest.approx(1, abs=1e-6)
    empty = float(model.log_prob([""]).value.exp())
    assert empty == pytest.approx(items.count("") / len(items), abs=0.1)
    assert empty > 0
    drawn = model.sample(4000, seed=0).length
    assert float((drawn == 0).double().mean()) == pytest.approx(empty, abs=0.03)


def test_logits_of_stopping_are_those_of_the_shares_that_stopped():
    lengths = torch.tensor([0] * 300 + [1] * 200 + [2] * 500)
    stop = stop_logits([lengths[:100], lengths[100:]], 2)
    assert stop.sigmoid().tolist() == pytest.approx([0.3, 2 / 7], abs=1e-3)
    mass = log_end(stop.expand(3, -1), torch.arange(3)).exp()
    assert mass.tolist() == pytest.approx([0.3, 0.2, 0.5], abs=1e-3)
