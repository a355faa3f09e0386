"""Without a family a fit takes one that suits the data, and says which and why."""

import numpy as np
import pytest

import likeness as lk
from likeness.check.spaces import GIVENS, SPACES
from likeness.core.errors import BadConfig
from likeness.core.space import Count, Space, image, label, sequence, series, vector
from likeness.learn.auto import choose
from likeness.registry import family


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("given", GIVENS)
def test_what_is_chosen_takes_the_data(space, given):
    s, g = SPACES[space](), GIVENS[given]()
    choice = choose(s, g, 5000)
    chosen = family(choice.family)
    assert chosen.accepts(chosen.Config(), s, g)
    assert choice.family in choice.note
    assert len(choice.why.split()) > 3


@pytest.mark.parametrize(
    ("space", "rows", "name"),
    [
        (vector(5), 1000, "mixture"),
        (image(3, 8, 8, 256), 5000, "autoregressive"),
        (image(1, 8, 8, 2), 5000, "autoregressive"),
        (image(1, 8, 8, 256), 100, "pca"),
        (series(2, 50), 100, "linear_dynamical"),
        (sequence(30, 80), 1000, "autoregressive"),
        (Space(axes=("column",), shape=(200,), variables=(Count(),)), 500, "topic"),
    ],
)
def test_each_kind_of_data_has_its_family(space, rows, name):
    assert choose(space, None, rows).family == name


def test_a_label_does_not_change_that_a_table_is_one():
    assert choose(vector(3), label(4), 1000).family == "mixture"


def test_data_alone_are_fitted_and_the_model_says_what_was_chosen():
    rows = np.random.default_rng(0).normal(size=(200, 3))
    alone = lk.fit(rows, budget="5 steps", progress=False)
    named = lk.fit("auto", rows, budget="5 steps", progress=False)
    assert type(alone) is type(named) is family("mixture")
    assert any("mixture was chosen" in note for note in alone.facts["notes"])
    plain = lk.fit("mixture", rows, budget="5 steps", progress=False)
    assert not any("was chosen" in note for note in plain.facts["notes"])


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda rows: lk.fit("flow"), "no data"),
        (lambda rows: lk.fit("auto"), "no data"),
        (lambda rows: lk.fit(rows, layers=3), "'layers' is an option of some family"),
        (lambda rows: lk.fit(rows, "flow"), "a family is named by a word"),
    ],
)
def test_calls_that_make_no_sense_are_refused(ask, words):
    with pytest.raises(BadConfig, match=words):
        ask(np.zeros((9, 2)))
