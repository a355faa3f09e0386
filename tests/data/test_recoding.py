"""A table from another file counts its labels in an order of its own: it is asked about by their names."""

import numpy as np
import pandas as pd
import pytest
import torch

import likeness as lk
from likeness.api import load
from likeness.core.batch import as_batch
from likeness.core.errors import BadData
from likeness.data import conll

TRAIN = pd.DataFrame({"k": list("aabbccab") * 20, "x": np.arange(160) * 0.25})
OTHER = pd.DataFrame({"x": [3.25, 0.5, 9.0], "k": ["c", "b", "c"]})


def test_a_table_of_another_file_is_read_as_its_frame_is():
    space = load(TRAIN, test=0.0).space
    other = load(OTHER, test=0.0).train
    assert other.space != space
    assert torch.equal(as_batch(space, other).x, as_batch(space, OTHER).x)


def test_labels_as_condition_are_asked_by_name():
    model = lk.fit("mixture", load(TRAIN, given="k", test=0.0), budget="5 steps", progress=False)
    table = load(OTHER, given="k", test=0.0).train
    by_name = model.log_prob(OTHER[["x"]], given=OTHER[["k"]], seed=0)
    assert torch.equal(model.log_prob(table, seed=0).value, by_name.value)


def test_a_label_that_was_never_learned_is_named():
    strange = load(OTHER.replace("c", "z"), test=0.0).train
    with pytest.raises(BadData, match="'z' is no category that was learned"):
        as_batch(load(TRAIN, test=0.0).space, strange)


def test_sentences_of_another_file_are_read_by_their_words(tmp_path):
    train, other = tmp_path / "train.conll", tmp_path / "other.conll"
    train.write_text("a X\nb Y\na X\n\nb Y\na X\n\n" * 30)
    other.write_text("b X\nb Y\n\nc Y\na X\n\n")  # "c" is unknown, and b comes first
    model = lk.fit("crf", str(train), budget="30 steps", progress=False)
    table = load(str(other), test=0.0).train
    batch = conll.of_file(model.space, model.given_space, other)
    torch.testing.assert_close(model.log_prob(table).value, model.log_prob(batch).value)
