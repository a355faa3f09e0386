"""Pictures: pixels where they should be, one PNG for every form of item, matplotlib's own state untouched."""

import io

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

import likeness as lk
from likeness.core.batch import Batch
from likeness.core.space import Nominal, Real, image, sequence, series, vector
from likeness.data.synthetic import world
from likeness.evaluate.charts import labels, ticks
from likeness.evaluate.figures import density_on, image_grid, picture

SPACES = {
    "image": (image(1, 4, 4, levels=2), torch.ones(5, 1, 4, 4)),
    "plane": (vector(2), torch.randn(20, 2)),
    "table": (
        vector(2, (Real(), Nominal(categories=3))),
        torch.tensor([[0.5, 1.0], [1.0, 2.0], [2.0, 0.0]]),
    ),
    "strips": (sequence(3, 6), torch.zeros(4, 6)),
    "waves": (series(2, 5), torch.randn(4, 5, 2)),
    "map": (
        vector(4).model_copy(update={"axes": tuple("abcd"), "shape": (2, 2, 2, 2)}),
        torch.randn(3, 2, 2, 2, 2),
    ),
}


@pytest.mark.parametrize("form", SPACES)
def test_every_form_of_item_has_a_picture(form):
    space, x = SPACES[form]
    length = torch.full((len(x),), x.shape[1]) if space.ragged else None
    before = dict(mpl.rcParams)
    png = picture(space, Batch(x, length=length))
    assert Image.open(io.BytesIO(png)).size[0] > 100
    assert dict(mpl.rcParams) == before


def test_levels_become_greys_in_their_places():
    x = torch.arange(4.0).reshape(1, 1, 2, 2)
    png = image_grid(image(1, 2, 2, levels=4), x, columns=1, least=4)
    grey = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    assert grey.shape == (4, 4)
    assert grey[1:3, 1:3].tolist() == [[0, 85], [170, 255]]


def test_draws_save_a_png(tmp_path):
    assert lk.compare  # the face registers the writers
    draws = world("moons").sample(50, seed=0)
    assert Image.open(draws.save(tmp_path / "moons.png")).format == "PNG"


def test_contours_are_of_the_density():
    law = world("gaussian", rho=0.0)
    low, high = np.array([-5.0, -5.0]), np.array([5.0, 5.0])
    x, y, p = density_on(law, (low, high))
    expected = np.exp(-0.5 * (x[None, :] ** 2 + y[:, None] ** 2))
    assert np.allclose(p, expected / expected.max(), rtol=0, atol=1e-9)


def test_ticks_are_round_and_labelled_to_their_step():
    assert ticks(-1.97, -0.96) == pytest.approx([-1.8, -1.6, -1.4, -1.2, -1.0])
    assert labels([0.5, 1.0]) == ["0.5", "1.0"]
    assert labels([-2000.0, 0.0]) == ["\u22122,000", "0"]
