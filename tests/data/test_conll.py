"""Tagged sentences in columns."""

from pathlib import Path

import pytest
import torch

import likeness as lk
from likeness.core.errors import BadData
from likeness.data.conll import encode, sentences, shape
from likeness.data.conllfile import parse

TEXT = "The DT B-NP\ndog NN I-NP\nbarks VBZ B-VP\n\n\nIBM-360 NNP B-NP\n. . O\n\n"


def written(folder: Path, text: str, name: str = "some.conll") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_become_labels_and_features_step_by_step(tmp_path: Path) -> None:
    data = lk.load(written(tmp_path, TEXT * 20))
    assert (data.space.longest, data.space.variables[0].labels) == (
        3,
        ("B-NP", "B-VP", "I-NP", "O"),
    )
    assert data.given_space.names == ("word", "c1", "lower", "prefix", "suffix", "shape")
    batch = data.train.batch
    assert torch.equal(batch.length, batch.given.length)
    assert sorted(set(batch.length.tolist())) == [2, 3]
    assert len(data) == 40
    long = batch[int((batch.length == 3).nonzero()[0])]
    words = data.given_space.variables[0].labels
    assert [words[int(c)] for c in long.given.x[:, 0]] == ["The", "dog", "barks"]


def test_new_sentences_hide_words_never_seen_and_labels_not_told(tmp_path: Path) -> None:
    data = lk.load(written(tmp_path, TEXT * 20))
    batch = encode(
        data.space, data.given_space, [[("The", "DT"), ("cat", "NN")], [("dog", "NN", "O")]]
    )
    assert batch.observed.tolist()[0][:2] == [False, False]
    assert bool(batch.observed[1, 0])
    assert batch.given.observed[0, :2, 0].tolist() == [True, False]
    with pytest.raises(BadData, match=r"row 0, word 1"):
        encode(data.space, data.given_space, [[("dog", "NN", "I-NQ")]])


def test_tabs_part_columns_that_hold_spaces(tmp_path: Path) -> None:
    assert sentences(written(tmp_path, "New York\tO\nis\tO\n"))[0][0] == ("New York", "O")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no sentences"),
        ("The DT O\ndog NN\n", "line 2"),
        ("alone\n", "line 1"),
        ("a O\n" * 2000, "empty lines"),
    ],
)
def test_broken_files_name_the_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadData, match=words):
        lk.load(written(tmp_path, text))


def test_shapes() -> None:
    assert [shape(w) for w in ("IBM-360", "dogs", "McX", "3.14")] == ["XX-99", "xx", "XxX", "9.99"]


def test_only_ends_of_lines_end_lines_and_only_blanks_part_columns(tmp_path):
    """A no-break space, a form feed and a line separator may stand in a word."""
    path = tmp_path / "odd.conll"
    path.write_text("the\u00a0x DT\r\n\x0cy\u2028z NN\n\nq NN", encoding="utf-8", newline="")
    assert sentences(path) == [[("the\u00a0x", "DT"), ("\x0cy\u2028z", "NN")], [("q", "NN")]]
    told = parse(path).tagged([["A"], ["B"], ["C"]], 2)
    assert told == "the\u00a0x DT A\r\n\x0cy\u2028z NN B\n\nq NN C"
