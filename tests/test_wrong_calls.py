"""Wrong calls in Python end in a sentence that says what was wrong and what to do, never in a traceback from inside."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import likeness as lk
from likeness.core.errors import LikenessError

ROWS = np.random.default_rng(0).normal(size=(60, 2))
FRAME = pd.DataFrame({"a": ROWS[:, 0], "b": ROWS[:, 1], "c": ["x", "y"] * 30})


@pytest.fixture(scope="module")
def gaussian():
    return lk.fit("gaussian", ROWS, progress=False)


@pytest.fixture(scope="module")
def table():
    return lk.fit("mixture", FRAME, budget=10, components=2, progress=False)


FITS = {
    "a misspelt family": (lambda: lk.fit("gausian", ROWS), "did you mean 'gaussian'"),
    "data first": (lambda: lk.fit(ROWS, "gaussian"), "give the name first"),
    "no data": (lambda: lk.fit("flow"), "there are no data"),
    "a misspelt option": (lambda: lk.fit("flow", ROWS, layer=3), "did you mean 'layers'"),
    "an option of another type": (lambda: lk.fit("flow", ROWS, layers="many"), "layers: "),
    "a budget of no unit": (lambda: lk.fit("flow", ROWS, budget="soon"), "soon"),
    "no budget": (lambda: lk.fit("flow", ROWS, budget=None), "None"),
    "no rows": (lambda: lk.fit("gaussian", []), "empty"),
    "words": (lambda: lk.fit("gaussian", np.array([["a", "b"], ["c", "d"]])), "gaussian|real"),
    "nothing but gaps": (lambda: lk.fit("gaussian", np.full((20, 2), np.nan)), "missing|gaps|NaN"),
    "all rows held out": (lambda: lk.fit("gaussian", ROWS, holdout=2), "holdout|share|leaves"),
    "a share in words": (lambda: lk.fit("gaussian", ROWS, holdout="much"), "holdout='much'"),
    "a seed in words": (lambda: lk.fit("gaussian", ROWS, seed="x"), "seed='x'"),
    "no such device": (lambda: lk.fit("gaussian", ROWS, device="gpu"), "no device 'gpu'"),
    "a type in words": (lambda: lk.fit("gaussian", ROWS, dtype="float16"), "torch.float32"),
    "a type of whole numbers": (lambda: lk.fit("gaussian", ROWS, dtype=torch.int64), "float64"),
    "no such condition": (lambda: lk.fit("gaussian", FRAME, given="z"), "'z'"),
    "decisions that are none": (lambda: lk.fit("gaussian", ROWS, decisions=3), "dictionary"),
    "no such file": (lambda: lk.load("nofile.csv"), "nofile.csv"),
    "a number as data": (lambda: lk.load(3), "array"),
    "more than all": (lambda: lk.load(ROWS, test=1.5), "test|share|leaves"),
    "less than no rows": (lambda: lk.load("moons", n=-3), "n: input should be greater"),
    "names without types": (lambda: lk.load(FRAME, columns=["a"]), "columns={'a': \"real\"}"),
    "a type that is none": (lambda: lk.load(FRAME, columns={"a": "realest"}), "realest"),
    "a column that is not there": (lambda: lk.load(FRAME, columns={"z": "real"}), "'z'"),
    "memory in words": (lambda: lk.load(ROWS, max_memory="lots"), "lots"),
    "no such world": (lambda: lk.world("moon"), "moons"),
    "no model there": (lambda: lk.open("no/such/folder"), "no/such/folder"),
    "no path": (lambda: lk.open(None), "None is no path"),
    "no such row of a comparison": (lambda: lk.compare(ROWS, ["flo"], budget=5), "flo"),
    "no seeds": (lambda: lk.compare(ROWS, ["gaussian"], budget=5, seeds=0), "seed"),
    "no family to check": (lambda: lk.check("nothing"), "'nothing' is no family"),
}
QUESTIONS = {
    "a number in words": (lambda m: m.sample("ten"), "n='ten'"),
    "less than nothing": (lambda m: m.sample(-1), "below"),
    "half an item": (lambda m: m.sample(2.5), "2.5"),
    "a condition of none": (lambda m: m.sample(3, given=[1]), "given|condition"),
    "too few columns": (lambda m: m.log_prob(ROWS[:, :1]), "1"),
    "no rows at all": (lambda m: m.log_prob(object()), "object"),
    "no such setting": (lambda m: m.log_prob(ROWS, settings={"speed": 3}), "'speed'"),
    "no effort": (lambda m: m.log_prob(ROWS, effort=-1), "effort"),
    "classes of none": (lambda m: m.classify(ROWS), "class|label|given"),
    "what is next of rows": (lambda m: m.forecast(ROWS, 3), "fixed length"),
    "a level of 2": (lambda m: m.sample(5).quantiles(2), "from 0 to 1"),
    "a file of no kind": (lambda m: m.sample(5).save("x.docx"), ".csv"),
    "no folder": (lambda m: m.save(None), "None is no path"),
}


@pytest.mark.parametrize(("call", "said"), FITS.values(), ids=FITS)
def test_a_wrong_fit_is_refused_in_a_sentence(call, said):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(LikenessError, match=said):
            call()


@pytest.mark.parametrize(("call", "said"), QUESTIONS.values(), ids=QUESTIONS)
def test_a_wrong_question_is_refused_in_a_sentence(gaussian, call, said):
    with pytest.raises(LikenessError, match=said):
        call(gaussian)


def test_questions_by_names_that_are_not_there_are_refused(table):
    with pytest.raises(LikenessError, match="'zz'"):
        lk.query(table, want="sample", evidence={"zz": 1})
    with pytest.raises(LikenessError, match="drow"):
        lk.query(table, want="drow")
    with pytest.raises(LikenessError, match="'q' is no category"):
        table.log_prob(FRAME.assign(c="q"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("components", r"model\.config\.components"),
        ("predict", r"model\.classify"),
        ("score_samples", r"model\.log_prob"),
        ("means_", "state_dict"),
    ],
)
def test_what_is_called_otherwise_elsewhere_is_named_here(table, name, said):
    with pytest.raises(AttributeError, match=said):
        getattr(table, name)
    assert not hasattr(table, name)


def test_a_number_is_no_log_probability(gaussian):
    with pytest.raises(TypeError, match="unsupported operand"):
        gaussian.log_prob(ROWS) - 3
