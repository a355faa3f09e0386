"""Corpora: LDA-C's bags, plain text cut into words, and the sentences that say where a file is wrong."""

import math
import os
import random
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch

import likeness as lk
from likeness.api import load
from likeness.core.batch import as_batch
from likeness.core.errors import BadData
from likeness.data import catalog, corpora, text

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
    assert items(data) == [[0, 3, 3], [1, 1, 1], [], [0, 2, 3]]
    assert data.space.variables[0].labels == ("a", "b", "c", "d", "<unk>")
    assert any("the order of their numbers" in n for n in data.notes)
    assert "1 of 4 items are empty: their length is 0" in data.notes


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
        ("1 9999999999999999999:1", "is not term:count"),
        ("1 \u0663:1", "is not term:count"),
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
    assert data.space.variables[0].labels == ("0", "2", "<unk>")
    assert any("words are numbers" in n for n in data.notes)
    (tmp_path / "mine").write_text("x\ny\nz\n")
    assert load(path, vocabulary=tmp_path / "mine").space.variables[0].labels == (
        "x",
        "y",
        "z",
        "<unk>",
    )
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
    assert data.space.variables[0].labels == ("dog", "the", "cat", "<unk>")
    assert items(data) == [[1, 2, 3, 1, 3, 3], [3, 0, 1, 0], [], [2, 3, 0, 3, 3]]
    assert "1 of 4 items are empty: their length is 0" in data.notes
    rare = "7 words seen less than 2 times count as <unk>, as unknown ones will: 46.7% of all words"
    assert rare in data.notes
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
    assert batch.x[:, :6].tolist() == [[1, 0, 3, 3, 3, 2], [0] * 6]
    assert batch.length.tolist() == [6, 1]
    assert text.decode(model.space, batch) == ["the dog <unk> <unk> <unk> cat", "dog"]
    path = bags(tmp_path, "2 0:1 2:2")
    assert torch.allclose(model.log_prob(path).value, model.log_prob(["cat dog cat"]).value)
    model.sample(3, seed=0).save(tmp_path / "drawn.txt")
    assert set((tmp_path / "drawn.txt").read_text().split()) <= {"the", "dog", "cat", "<unk>"}


def rare_words(number: int) -> list[str]:
    """Documents of five common words, and now and then one that stands nowhere else."""
    g = random.Random(0)
    letters = "abcdefghij"
    once = ["q" + "".join(letters[int(d)] for d in str(i)) for i in range(number)]
    return [" ".join([*g.choices(["sun", "rain", "wind", "ball", "goal"], k=6), w]) for w in once]


@pytest.mark.parametrize("least", [1, 2])
@pytest.mark.parametrize("family", ["topic", "independent", "hmm", "markov"])
def test_the_more_words_are_unknown_the_stranger_a_document_is(family, least):
    """However common rare words are together, as here one word in seven."""
    data = load(rare_words(50), words=least, test=0.0)
    model = lk.fit(family, data, budget="20 steps", progress=False, seed=0)
    documents = ["sun rain sun", "sun rain zebra", "sun qux zebra", "qux zebra zebra"]
    for value in (model.log_prob(documents).value, -model.anomaly_score(documents)):
        assert bool(value.isfinite().all())
        assert bool((value.diff() < 0).all())


@pytest.mark.parametrize("family", ["independent", "hmm", "markov"])
def test_each_rare_word_has_a_share_of_the_probability_of_all(family):
    data = load(rare_words(50), words=2, test=0.0)
    assert data.space.variables[0].pooled == 51
    model = lk.fit(family, data, budget="20 steps", progress=False, seed=0)
    known = ["sun", "rain", "wind", "ball", "goal"]
    p = model.log_prob([*known, "zebra"]).value.double().exp()
    assert float(p[:5].sum() + 51 * p[5]) == pytest.approx(1, abs=1e-6)


def test_unknown_words_tell_nothing_of_topics():
    g = random.Random(0)
    themes = (["sun", "rain", "wind"], ["goal", "ball", "team", "coach"])
    lines = [" ".join(g.choices(themes[i % 2], k=8)) for i in range(60)]
    model = lk.fit("topic", load([*lines, "once"], words=2, test=0.0), topics=2, seed=0)
    documents = ["sun wind", "sun wind qux qux qux qux qux"]
    mean = model.encode(documents).mean
    assert torch.equal(mean[0], mean[1])
    unknown = model.log_prob(documents).value.diff() / 5
    seen = 60 * 8 + 1
    p = (1 + 0.1) / (seen + 0.1 * 8)
    assert float(unknown) == pytest.approx(math.log(p / 2), abs=0.2)  # some lines are held out
    assert model.sample(400, seed=0).x.max() <= 7
    assert all("<unk>" not in topic for topic in model.top())


def test_words_of_a_list_are_found_however_they_are_written(tmp_path):
    """Capitals, soft hyphens and accents of their own do not make another word of one."""
    path = bags(tmp_path, "4 0:1 1:1 2:1 3:1", vocabulary="Caf\u00e9 the The C++")
    model = lk.fit("topic", path, topics=1, passes=2, progress=False)
    batch = as_batch(model.space, ["THE cafe\u0301, the ca\u00adf\u00e9"])
    assert batch.x[0, : int(batch.length[0])].tolist() == [1, 0, 1, 0]
    new = tmp_path / "new.txt"
    new.write_text("the C++\n")
    found = corpora.of_file(model.space, new, bagged=False)
    assert found.unknown.tolist() == [1]
    assert "1 words of the model, such as 'C++', are never found in text" in found.notes


def test_vowel_signs_are_part_of_a_word():
    assert corpora.words_of("\u0939\u093f\u0928\u094d\u0926\u0940") == [
        "\u0939\u093f\u0928\u094d\u0926\u0940"
    ]


@pytest.mark.parametrize(
    ("words", "told", "line"),
    [("a\n\nc\n", "no word, where word 1 should be", 2), ("a\nb\n a\n", "in line 1 already", 3)],
)
def test_a_list_whose_numbers_would_be_others_is_refused(tmp_path, words, told, line):
    path = bags(tmp_path, "1 0:1", "1 1:2")
    (tmp_path / "vocab.txt").write_text(words)
    with pytest.raises(BadData, match=told) as error:
        load(path)
    assert str(error.value.where).endswith(f"{tmp_path / 'vocab.txt'}, line {line}")


def test_words_of_a_list_may_hold_any_characters(tmp_path):
    odd = ["#", "a b", "\x0c", "\u2028x", "\u00a0", "10:30", "<unk>"]
    path = bags(tmp_path, "1 6:2", "1 2:1")
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*odd, "", ""]).encode())
    data = load(path)
    assert data.space.variables[0].labels == tuple(odd)
    assert items(data) == [[6, 6], [2]]


def test_memory_goes_with_what_a_file_holds_and_not_with_its_numbers(tmp_path):
    """A vocabulary of all numbers up to the largest would take gigabytes, words one by one terabytes."""
    tracemalloc.start()
    data = load(bags(tmp_path, "2 0:1 50000000:2", "1 123456789012345678:1"))
    with pytest.raises(BadData, match=r"of memory where .*are allowed"):
        load(bags(tmp_path, "1 0:123456789012345678", "1 1:1"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.space.variables[0].labels == ("0", "50000000", "123456789012345678", "<unk>")
    assert peak < 10e6


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "rows", "words", "pairs"), [("ap", 2246, 10474, 302031), ("reuters", 395, 4259, 0)]
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
