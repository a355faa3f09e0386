"""What a first hour tries: arguments of other types end in one sentence, or are simply read."""

import numpy as np
import pandas as pd
import pytest
import torch

import likeness as lk
from likeness.core.errors import LikenessError
from likeness.core.space import Real

RNG = np.random.default_rng(0)
LABELS = RNG.choice(["u", "v"], 80)
FRAME = pd.DataFrame({"x": RNG.normal(size=80), "z": RNG.normal(size=80), "lab": LABELS})


@pytest.fixture(scope="module")
def model():
    return lk.fit("gaussian", FRAME, given="lab")


def test_whole_numbers_of_any_type_are_numbers(model):
    truth = model.sample(3, seed=3)
    for n, seed in (
        (np.int64(3), np.int64(3)),
        (torch.tensor(3), torch.tensor(3)),
        (np.uint8(3), np.int32(3)),
    ):
        assert torch.equal(model.sample(n, seed=seed).x, truth.x)
    assert torch.equal(lk.query(model, "sample", n=np.int64(3), seed=np.int64(3)).x, truth.x)
    assert len(model.sample(0, seed=0)) == 0
    again = lk.fit("gaussian", FRAME, given="lab", seed=np.int64(0))
    assert torch.equal(again.sample(3, seed=3).x, truth.x)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda m: m.sample(-1), "n=-1 is below 0"),
        (lambda m: m.sample("5"), "n='5' is not a whole number"),
        (lambda m: m.sample(2.5), "n=2.5 is not a whole number"),
        (lambda m: m.sample(2, seed="a"), "seed='a' is not a whole number"),
        (lambda m: m.complete(FRAME, n=0), "n=0 is below 1"),
        (lambda m: m.classify(FRAME, prior=[0.2, 0.3, 0.5]), "a prior of 3 weights for 2 classes"),
        (lambda m: m.classify(FRAME, prior=[-0.2, 1.2]), "weights are not from 0 on"),
        (lambda m: m.classify(FRAME, prior=[0, 0]), "weights are not from 0 on"),
        (lambda m: m.classify(FRAME, prior="even"), "no list of numbers"),
        (lambda m: m.log_prob(FRAME, evidence=[True] * 5), "a mask of 5 for entries of 2"),
        (lambda m: m.log_prob(FRAME, evidence=["x", 1]), "neither names nor a mask"),
        (lambda m: m.log_prob(FRAME, given=[["u", "v"]]), "u"),
        (lambda m: m.log_prob([["a", 1.0]]), "'a' is not a number"),
        (lambda m: m.log_prob(5), "items of shape one number where 2 is expected"),
        (lambda m: m.sample(2, given=0), "'0' is no category"),
        (lambda m: m.log_prob("nowhere.csv"), "no file or data set"),
        (lambda m: lk.fit("gaussian", FRAME, seed="x"), "seed='x' is not a whole number"),
        (lambda m: lk.load(FRAME[["x"]].assign(d=20240105), columns={"d": "date"}), "no number of days since 1970"),
        (lambda m: lk.load(FRAME, columns={"xx": "real"}), "no column 'xx'"),
        (lambda m: lk.load(FRAME[["x", "z"]], given=[None] * 80), "nothing but missing values"),
    ],
)  # fmt: skip
def test_each_refusal_is_one_sentence(model, ask, said):
    with pytest.raises(LikenessError, match=said) as caught:
        ask(model)
    assert "\n" not in str(caught.value)


def test_a_label_is_a_label_where_a_folder_has_its_name(model, tmp_path, monkeypatch):
    (tmp_path / "u").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model.sample(2, given="u", seed=0).to_pandas()["lab"].tolist() == ["u", "u"]
    with pytest.raises(LikenessError, match="no images"):
        model.log_prob(tmp_path / "u")


def test_columns_may_be_called_by_numbers():
    frame = pd.DataFrame({0: RNG.integers(0, 3, 40), 1: RNG.normal(size=40)})
    data = lk.load(frame, columns={0: "real"}, test=0)
    assert data.space.variables == (Real(), Real())
    assert lk.load(frame, columns="real", test=0).space.variables == (Real(), Real())
    assert lk.load(frame, given=0, test=0).given_space.names == ("0",)


def test_odd_categories_are_sorted():
    frame = pd.DataFrame({"s": ["--5", "a", "-5", "10", "9", "1.5.2", "\u00b2"] * 5})
    assert lk.load(frame, test=0).space.variables[0].labels == (
        "-5",
        "9",
        "10",
        "--5",
        "1.5.2",
        "a",
        "\u00b2",
    )


def test_one_number_is_one_label():
    model = lk.fit("gaussian", FRAME[["x", "z"]], given=(LABELS == "u").astype(int))
    truth = model.sample(5, given=[1], seed=0).x
    for one in (1, 1.0, True, "1", torch.tensor(1), np.int64(1)):
        assert torch.equal(model.sample(5, given=one, seed=0).x, truth)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("", "'' names neither a file nor a data set"),
        (" \t", "names neither a file nor a data set"),
        ("\0", "no file or data set"),
        ("a" * 5000, "no file or data set 'aaa"),
        ("x.cvs", "did you mean 'x.csv'"),
    ],
)
def test_what_names_nothing_is_no_path(model, tmp_path, monkeypatch, what, said):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    plain = lk.fit("gaussian", FRAME[["x", "z"]])
    for ask in (lk.load, plain.log_prob):
        with pytest.raises(LikenessError, match=said) as caught:
            ask(what)
        assert len(str(caught.value)) < 1000
    with pytest.raises(LikenessError, match="None is no data"):
        lk.load(None)


def test_a_folder_of_which_nothing_is_read_says_what_is(tmp_path):
    with pytest.raises(LikenessError, match=r"no images, sounds, texts or \.ts files.*give \.csv"):
        lk.load(tmp_path)
    (tmp_path / "sales.csv").write_text("a,b\n1,2\n")
    with pytest.raises(LikenessError, match=r"name one of its files, such as '.*sales\.csv'"):
        lk.load(tmp_path)
