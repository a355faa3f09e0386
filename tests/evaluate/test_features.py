"""Views of items, and the stored feature net against its hash and its task."""

import pytest
import torch
from sklearn.datasets import load_digits

from likeness.api import load
from likeness.core.batch import Batch
from likeness.core.errors import BadStore
from likeness.core.space import Nominal, Real, sequence, vector
from likeness.data.source import Table
from likeness.evaluate import features
from likeness.evaluate.features import DigitNet, digit_net, store_digit_net, train_digit_net, view


def digits():
    found = load_digits()
    return torch.from_numpy(found.images[:, None]).float(), torch.from_numpy(found.target).long()


def test_the_stored_net_knows_digits():
    x, y = digits()
    with torch.no_grad():
        assert float((digit_net()(x).argmax(-1) == y).double().mean()) > 0.98


def test_training_is_a_function_of_the_seed_and_generalises():
    x, y = digits()
    before = torch.get_rng_state()
    one, two = (train_digit_net(x[:600], y[:600], epochs=3, seed=1) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    with torch.no_grad():
        assert float((one(x[600:]).argmax(-1) == y[600:]).double().mean()) > 0.5


def test_other_weights_are_refused(tmp_path, monkeypatch):
    other = tmp_path / features.STORED
    store_digit_net(DigitNet(), other)
    monkeypatch.setattr(features.resources, "files", lambda _package: tmp_path)
    with pytest.raises(BadStore, match="not the one that reports name"):
        digit_net.__wrapped__()


def test_digits_are_seen_through_the_net_and_other_images_by_pixels():
    found = view(load("digits").train)
    batch = load("digits").test.batch[:5]
    assert found.features(batch).shape == (5, 32)
    assert "sha256" in found.of_features
    assert torch.equal(found.entries(batch), batch.x.flatten(1).double() / 16)


def test_unlike_categories_lie_1_apart_and_holes_weigh_nothing():
    space = vector(2, (Real(), Nominal(categories=3)))
    x = torch.tensor([[0.0, 0.0], [2.0, 1.0], [4.0, 2.0], [2.0, 2.0]])
    seen = view(Table(space, Batch(x)))
    points = seen.entries(Batch(x))
    assert float((points[2] - points[3]).norm()) == pytest.approx(
        2 / float(x[:, 0].std(correction=0))
    )
    assert float((points[1] - points[3]).norm()) == pytest.approx(1.0)
    hidden = seen.entries(Batch(x, observed=torch.tensor([[False, False]]).expand(4, 2)))
    assert not bool(hidden.any())


def test_the_audit_counts_the_places_where_two_sequences_differ():
    x = torch.tensor([[0.0, 1, 2, 0], [1, 0, 2, 0], [0, 1, 2, 0], [0, 1, 2, 2]])
    batch = Batch(x, length=torch.tensor([3, 3, 3, 4]))
    items = view(Table(sequence(3, 4), batch)).items(batch)
    square = torch.cdist(items, items).square()
    assert square[0].tolist() == pytest.approx([0, 2, 0, 1])
