"""Accuracies of two-sample classifiers against what is known of the two laws."""

import pytest
import torch

from likeness.core.errors import BadData
from likeness.metrics import distance, two_sample


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equal_laws_cannot_be_told_apart():
    got = two_sample.c2st(normal(0, 600, 2), normal(1, 600, 2), seed=0)
    assert abs(got.value - 0.5) < 4 * got.stderr
    assert got.stderr == pytest.approx(0.5 / 1200**0.5, rel=0.01)


@pytest.mark.parametrize("classifier", [two_sample.boosted_trees, two_sample.small_network])
def test_a_shift_is_told_as_well_as_bayes_allows(classifier):
    # Bayes' accuracy between N(0, 1) and N(2, 1) is Phi(1) = 0.8413
    got = two_sample.c2st(normal(2, 1000, 1), normal(3, 1000, 1) + 2, seed=0, classifier=classifier)
    assert 0.8 < got.value < 0.8413 + 3 * got.stderr


@pytest.mark.parametrize("items", [5, 12, 24])
@pytest.mark.parametrize("classifier", [two_sample.boosted_trees, two_sample.small_network])
def test_few_items_of_far_sets_are_told_apart(classifier, items):
    x = normal(6, items, 4)
    y = normal(7, items, 4) + 100
    got = two_sample.c2st(x, y, seed=0, classifier=classifier)
    assert got.value > 0.95
    assert got.low > 0.5
    assert got.high > 0.99


def test_c2st_is_a_function_of_its_seed_and_cuts_to_equal_numbers():
    x, y = normal(4, 300, 2), normal(5, 900, 2)
    first = two_sample.c2st(x, y, seed=3)
    torch.manual_seed(123)
    assert first == two_sample.c2st(x, y, seed=3)
    assert first != two_sample.c2st(x, y, seed=4)
    assert abs(first.value - 0.5) < 4 * first.stderr  # 900 against 300 would give 0.75 by guessing


def test_neighbour_accuracy_of_equal_laws_has_the_stated_spread(monkeypatch):
    monkeypatch.setattr(distance, "CHUNK", 4000)
    found = [
        two_sample.neighbour_accuracy(normal(2 * r, 100, 2), normal(2 * r + 1, 100, 2))
        for r in range(300)
    ]
    values = torch.tensor([f.value for f in found])
    assert values.mean().item() == pytest.approx(0.5, abs=0.012)
    assert found[0].stderr == pytest.approx(values.std().item(), rel=0.12)


def test_neighbour_accuracy_of_copies_and_of_strangers():
    x = normal(6, 50, 3)
    assert two_sample.neighbour_accuracy(x, x.clone()).value == 0
    assert two_sample.neighbour_accuracy(x, x + 100).value == 1


def test_ties_of_discrete_data_count_half():
    x = torch.arange(60) % 2
    assert two_sample.neighbour_accuracy(x, x.clone()).value == 0.5


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(BadData, match="as many"):
        two_sample.neighbour_accuracy(torch.ones(3), torch.ones(4))
    with pytest.raises(BadData, match="folds"):
        two_sample.c2st(torch.ones(3, 1), torch.ones(4, 1), seed=0)
