"""Items are found in arrays however they lie: with their channel or without, channels first or last, alone or many."""

import numpy as np
import pytest
import torch

from likeness.core.batch import as_batch
from likeness.core.errors import BadData
from likeness.core.space import image, sequence, series, vector

RNG = np.random.default_rng(0)


def images(*shape):
    return RNG.integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_images_may_have_their_channels_last(channels):
    space = image(channels, 5, 7)
    first = images(4, channels, 5, 7)
    last = np.moveaxis(first, 1, -1)
    want = torch.from_numpy(first).float()
    for x in (first, last):
        assert torch.equal(as_batch(space, x).x, want)
        assert torch.equal(as_batch(space, x[0]).x, want[:1])


def test_square_images_of_as_many_channels_have_them_first():
    x = images(4, 3, 3, 3)
    assert torch.equal(as_batch(image(3, 3, 3), x).x, torch.from_numpy(x).float())


def test_one_channel_may_be_left_out():
    space = image(1, 5, 7)
    x = images(4, 5, 7)
    want = torch.from_numpy(x[:, None]).float()
    assert torch.equal(as_batch(space, x).x, want)
    assert torch.equal(as_batch(space, x[2]).x, want[2:3])
    assert torch.equal(as_batch(space, list(x)).x, want)


def test_series_of_one_channel_come_as_lines():
    space = series(1, longest=6)
    x = RNG.normal(size=(4, 6))
    want = torch.from_numpy(x[..., None])
    for same in (x, x[..., None], list(x), list(x[..., None])):
        batch = as_batch(space, same)
        assert torch.equal(batch.x, want)
        assert batch.length.tolist() == [6] * 4
    for alone in (x[0], x[0][:, None]):
        assert torch.equal(as_batch(space, alone).x, want[:1])
    short = as_batch(space, [x[0][:2], x[1][:5]])
    assert short.length.tolist() == [2, 5]
    assert torch.equal(short.x[1, :5], want[1, :5])


def test_one_series_of_many_channels_needs_no_axis_of_rows():
    space = series(3, longest=6)
    x = RNG.normal(size=(5, 3))
    assert as_batch(space, x).length.tolist() == [5]
    with pytest.raises(BadData, match="any x 3 is expected"):
        as_batch(space, x.T)


def test_a_sequence_of_symbols_needs_no_axis_of_rows():
    space = sequence(4, longest=5)
    assert as_batch(space, np.array([0, 3, 2])).x.tolist() == [[0, 3, 2, 0, 0]]
    assert as_batch(space, np.array([[0, 3, 2]])).length.tolist() == [3]


@pytest.mark.parametrize("x", [5, np.array(5), [5], [[5]], torch.tensor(5)])
def test_one_number_is_a_row_of_one_column(x):
    assert as_batch(vector(1), x).x.tolist() == [[5.0]]


@pytest.mark.parametrize("shape", [(4, 7, 5), (4, 2, 5, 7), (4, 5, 7, 2), (35,), (4, 35)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(BadData, match="1 x 5 x 7 is expected"):
        as_batch(image(1, 5, 7), np.zeros(shape))


@pytest.mark.parametrize("items", [[np.zeros((3, 2)), np.zeros((3, 4))], [np.zeros((3, 2, 1))]])
def test_series_of_unlike_widths_are_named(items):
    with pytest.raises(BadData, match=r"item [01]"):
        as_batch(series(2, longest=3), items)


def test_series_of_mixed_precision_keep_the_finer():
    x = as_batch(series(1, longest=2), [np.ones((1, 1), np.float32), np.full((2, 1), 0.1)]).x
    assert x[1, 0, 0] == 0.1
