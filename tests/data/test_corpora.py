"""Corpora: LDA-C's bags, plain text cut into words, and the sentences that say where a file is wrong."""

import os
from collections import Counter

import numpy as np
import pytest
import torch

import likeness as lk
from likeness.core.batch import as_batch
from likeness.core.errors import BadData
from likeness.data import catalog, corpora, load, text

LENT = os.environ.get(catalog.VARIABLE)


def bags(tmp_path, *lines: str, vocabulary: str = "", name: str = "some.ldac"):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    if vocabulary:
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary.split()) + "\n")
    return path


def items(data) -> list[list[int]]:
    """All documents in the order of the file."""
    parts = [(int(i), row[: int(n)].long().tolist()) for p in data.parts.values()
             for i, row, n in zip(p.batch.ids, p.batch.x, p.batch.length, strict=True)]  # fmt: skip
    return [row for _, row in sorted(parts)]


@pytest.mark.parametrize("name", ["some.ldac", "some.dat"])
def test_bags_become_sequences_in_the_order_of_their_words(tmp_path, name):
    path = bags(
        tmp_path, "2 3:2 0:1", "1 1:3", "0", "3 0:1 2:1 3:1", vocabulary="a b c d", name=name
    )
    data = load(path)
    assert items(data) == [[0, 3, 3], [1, 1, 1], [0, 2, 3]]
    assert data.space.variables[0].labels == ("a", "b", "c", "d")
    assert any("the order of their numbers" in n for n in data.notes)
    assert "1 documents without words were passed over" in data.notes


def test_random_bags_come_back_with_their_counts(tmp_path):
    g = np.random.default_rng(0)
    counts = g.poisson(0.7, (60, 17)) * (g.random((60, 17)) < 0.6)
    lines = []
    for row in counts:
        terms = g.permutation(np.flatnonzero(row))
        lines.append(" ".join([str(len(terms)), *(f"{t}:{row[t]}" for t in terms)]))
    found = corpora.bags(bags(tmp_path, *lines))
    assert [np.bincount(item, minlength=17).tolist() for item in found] == counts.tolist()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("2 0:1", "1 words where 2 are announced"),
        ("1 0:1 1:1", "2 words where 1 are announced"),
        ("1 0", "'0' is not term:count"),
        ("1 a:1", "'a:1' is not term:count"),
        ("1 0:-1", "'0:-1' is not term:count"),
        ("1 0:1.5", "'0:1.5' is not term:count"),
        ("word 0:1", "'word' is not term:count"),
        ("1 2:0", "word 2 is counted 0 times"),
        ("1 9:1", "word 9 where vocab.txt lists words 0 to 2"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, told):
    path = bags(tmp_path, "1 0:1", "", line, vocabulary="a b c")
    with pytest.raises(BadData, match=told) as error:
        load(path)
    assert error.value.where == f"{path}, line 3"


def test_words_are_numbers_without_a_list_and_named_by_one_that_is_given(tmp_path):
    path = bags(tmp_path, "1 0:1", "1 2:1")
    data = load(path)
    assert data.space.variables[0].labels is None
    assert any("words are numbers" in n for n in data.notes)
    (tmp_path / "mine").write_text("x\ny\nz\n")
    assert load(path, vocabulary=tmp_path / "mine").space.variables[0].labels == ("x", "y", "z")
    with pytest.raises(BadData, match="no file"):
        load(path, vocabulary=tmp_path / "yours")


def test_files_without_words_are_refused(tmp_path):
    with pytest.raises(BadData, match="holds no words"):
        load(bags(tmp_path, "0", "0"))
    (tmp_path / "odd.dat").write_text("3 4 5\n")
    with pytest.raises(BadData, match=r"\.dat.*not read"):
        load(tmp_path / "odd.dat")


LINES = ["The cat sat; the CAT's mat.", "A dog, the dog!", "42 --", "Cat and dog don't sit"]


def test_text_is_cut_into_words():
    assert corpora.words_of("Don't  stop -- l'été, 42 naïve_words") == [
        "don't",
        "stop",
        "l'été",
        "naïve",
        "words",
    ]
    data = load(LINES, words=2, test=0.3)
    assert data.space.variables[0].labels == ("dog", "the", "cat")
    assert items(data) == [[1, 2, 1], [0, 1, 0], [2, 0]]
    assert "1 documents without words were passed over" in data.notes
    with pytest.raises(BadData, match="no word is seen 9 times"):
        load(LINES, words=9)


def test_a_folder_of_texts_holds_a_document_a_file(tmp_path):
    (tmp_path / "deep").mkdir()
    for i, line in enumerate(LINES):
        (tmp_path / "deep" / f"{i}.txt").write_text(line)
    assert items(load(tmp_path, words=1)) == items(load(LINES, words=1))
    assert load(tmp_path).space.source == "text"  # as characters


def test_fitted_models_read_text_and_write_it(tmp_path):
    data = load(LINES * 5, words=8)
    model = lk.fit("topic", data, topics=2, passes=3, progress=False, seed=0)
    batch = as_batch(model.space, ["the DOG and an unknown cat", "dog"])
    assert batch.x[:, :3].tolist() == [[1, 0, 2], [0, 0, 0]]
    assert batch.length.tolist() == [3, 1]
    assert text.decode(model.space, batch) == ["the dog cat", "dog"]
    path = bags(tmp_path, "2 0:1 2:2")
    assert torch.allclose(model.log_prob(path).value, model.log_prob(["cat dog cat"]).value)
    model.sample(3, seed=0).save(tmp_path / "drawn.txt")
    assert set((tmp_path / "drawn.txt").read_text().split()) <= {"the", "dog", "cat"}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "rows", "words", "pairs"), [("ap", 2246, 10473, 302031), ("reuters", 395, 4258, 0)]
)
@pytest.mark.skipif(LENT is None, reason="LIKENESS_DATA names no folder")
def test_named_corpora(name, rows, words, pairs):
    if not catalog.available(name):
        pytest.skip(f"{name} is not here")
    data = load(name)
    assert (len(data), data.space.variables[0].categories) == (rows, words)
    if pairs:
        assert sum(len(Counter(item)) for item in items(data)) == pairs


def test_lines_of_blanks_alone_are_text_like_any_other(tmp_path):
    (tmp_path / "blank.txt").write_text(" \n" * 25)
    assert len(lk.load(tmp_path / "blank.txt")) == 25
    (tmp_path / "one.txt").write_text("two words\nmore words\n" + "\n" * 25)
    assert not any("each line holds" in note for note in lk.load(tmp_path / "one.txt").notes)
