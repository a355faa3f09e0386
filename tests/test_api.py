"""The front door: one way in for data, whatever they are asked for."""

import inspect

import numpy as np
import pytest

import likeness as lk
from likeness.api import training_table
from likeness.core.errors import BadConfig, BadData
from likeness.data.options import LoadOptions

ROWS = np.random.default_rng(0).normal(size=(40, 2))


def test_help_on_load_names_every_option_with_what_it_means():
    parameters = inspect.signature(lk.load).parameters
    assert set(parameters) == {"what", "given", *LoadOptions.model_fields}
    for name, field in LoadOptions.model_fields.items():
        assert f"    {name}: {field.description}.\n" in lk.load.__doc__
        assert parameters[name].default == field.default


def test_a_misspelt_option_is_refused_with_the_nearest():
    with pytest.raises(BadConfig, match=r"no option 'colums'; did you mean 'columns'"):
        lk.load(ROWS, colums={"0": "real"})
    with pytest.raises(BadConfig, match="words: input should be a valid integer"):
        lk.load(["a b", "b c"], words="many")


def test_options_of_numpy_are_numbers():
    data = lk.load(ROWS, test=np.float32(0.5), seed=np.int64(3))
    assert len(data.test) == len(lk.load(ROWS, test=0.5, seed=3).test)


def test_a_model_is_no_data():
    model = lk.fit("gaussian", ROWS, progress=False)
    with pytest.raises(BadData, match=r"a model \(Gaussian\) is no data; give rows"):
        lk.fit("gaussian", model)


def test_a_synthetic_distribution_is_loaded_as_by_its_name():
    by_name = lk.load("moons", n=50, seed=3)
    itself = lk.load(lk.world("moons"), n=50, seed=3)
    assert itself.truth is not None
    assert itself.train.batch.x.equal(by_name.train.batch.x)


def test_every_row_is_there_to_learn_from_unless_held_out_before():
    assert len(training_table(ROWS)) == len(ROWS)
    data = lk.load(ROWS, test=0.25)
    assert training_table(data) is data.train
    assert training_table(data.train) is data.train


def test_what_is_loaded_takes_no_second_condition_in_a_comparison():
    with pytest.raises(BadConfig, match="loaded already"):
        lk.compare(lk.load(ROWS), ["gaussian"], budget=1, given=np.arange(40) % 2)
