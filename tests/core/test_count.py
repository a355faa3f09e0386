"""How many numbers a model is free to choose: by formula, for every family whose count has one."""

import numpy as np
import pytest

import likeness as lk
from likeness.core.space import Nominal, Ordinal, vector

ROWS = np.random.default_rng(0).normal(size=(200, 4))
CLASSES = np.arange(200) % 3
BITS = (np.random.default_rng(1).random((200, 64)) < 0.4).astype(float)


def counted(family, data, space=None, budget=2, **options):
    data = lk.load(data, space=space) if space is not None else data
    return lk.fit(family, data, budget=budget, holdout=0, progress=False, **options).count()


@pytest.mark.parametrize(
    ("options", "right"),
    [
        ({}, 4 + 10),
        ({"covariance": "diagonal"}, 4 + 4),
    ],
)
def test_one_gaussian(options, right):
    assert counted("gaussian", ROWS, **options) == right


def test_a_gaussian_for_each_class():
    assert counted("gaussian", (ROWS, CLASSES), classes="own") == 3 * 4 + 3 * 10 + 2
    assert counted("gaussian", (ROWS, CLASSES), classes="shared") == 3 * 4 + 10 + 2


def logistic(classes, d):
    """Slopes and an intercept for each class."""
    return classes * d + classes


def quadratic(classes, d):
    """A mean and a covariance for each class, and their shares."""
    return classes - 1 + classes * d + classes * d * (d + 1) // 2


@pytest.mark.parametrize(
    ("classes", "d", "line", "room"), [(2, 1, 4, 5), (3, 4, 15, 44), (5, 3, 20, 49)]
)
def test_classifiers_told_and_learned_grow_as_dimensions_and_their_square(classes, d, line, room):
    x, names = ROWS[:, :d], np.array([f"c{k}" for k in np.arange(200) % classes])
    assert counted("independent", (names[:, None], x)) == logistic(classes, d) == line
    for family, options in (("discriminant", {"kind": "qda"}), ("gaussian", {"classes": "own"})):
        assert counted(family, (x, names), **options) == quadratic(classes, d) == room
    assert (
        counted("discriminant", (x, names), kind="lda")
        == classes - 1 + classes * d + d * (d + 1) // 2
    )


def test_a_photograph_is_too_wide_for_a_covariance_of_its_own():
    assert logistic(3, 480_000) == 1_440_003
    assert logistic(3, 256 * 256 * 3) == 589_827
    assert quadratic(3, 480_000) == 345_602_160_002
    assert round(quadratic(3, 480_000) / logistic(3, 480_000)) == 240_001


@pytest.mark.parametrize("d", [2, 4])
@pytest.mark.parametrize("k", [1, 3])
def test_a_mixture_grows_as_components_times_squared_dimensions(k, d):
    full, half = k * d * (d + 1) // 2, d * (d + 1) // 2
    for covariance, own in (("full", full), ("tied", half), ("diagonal", k * d), ("spherical", k)):
        options = {"components": k, "covariance": covariance, "restarts": 1}
        assert counted("mixture", ROWS[:, :d], **options) == k - 1 + k * d + own


def test_a_mixture_of_products_has_the_numbers_of_its_heads():
    codes = np.stack([np.arange(200) % 3, np.arange(200) % 2], -1).astype(float)
    space = vector(2, (Nominal(categories=3), Ordinal(levels=2)))
    assert counted("mixture", codes, space, components=4, restarts=1) == 3 + 4 * (2 + 1)


def test_bits_and_a_die():
    assert counted("independent", BITS, vector(64, Ordinal(levels=2))) == 64
    assert (
        counted("independent", np.arange(200)[:, None] % 6.0, vector(1, Nominal(categories=6))) == 5
    )
    assert counted("independent", ROWS, real="normal") == 8


@pytest.mark.parametrize(("window", "right"), [(0, 64), (1, 127), (None, 64 + 64 * 63 // 2)])
def test_a_logistic_chain_counts_what_its_mask_lets_through(window, right):
    space = vector(64, Ordinal(levels=2))
    assert counted("autoregressive", BITS, space, hidden=(), window=window) == right


def test_nets_count_their_weights():
    model = lk.fit("vae", ROWS, budget=1, holdout=0, progress=False, hidden=(8,), latent=2)
    assert model.count() == sum(p.numel() for p in model.parameters())


def test_the_card_says_the_same(tmp_path):
    model = lk.fit("mixture", ROWS, budget=2, holdout=0, progress=False, components=3)
    model.save(tmp_path / "model")
    assert f"{model.count():,} parameters" in (tmp_path / "model" / "card.md").read_text(
        encoding="utf-8"
    )
