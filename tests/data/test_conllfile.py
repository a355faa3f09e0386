"""Lines of files of tagged sentences: words, comments, numbers of words, and how they are written."""

import tracemalloc
from pathlib import Path

import pytest

import likeness as lk
from likeness.core.errors import BadData
from likeness.data import conll
from likeness.data.conllfile import parse
from likeness.data.source import Loud

PLAIN = [[("Anna", "B"), ("sees", "O")], [("#", "O"), ("#", "O"), ("1", "O")]]


def written(folder: Path, text: str, name: str = "some.conll") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "Anna B\nsees O\n\n# O\n# O\n1 O\n",
        "Anna\tB\r\nsees\tO \r\n\r\n#\tO\r\n#\tO\r\n1\tO",
        "  Anna  B  \nsees \t O\n \t \n# O\n# O\n1 O\n\n\n",
        "# a comment\nAnna B\nsees O\n\n# sent_id = 2\n#\n# O\n# O\n1 O\n\n# the end",
        "# newdoc\nAnna B\nsees O\n\n# newpar\n# O\n# O\n1 O\n",
        "-DOCSTART- -X- O O\n\nAnna B\nsees O\n-DOCSTART- X\n# O\n# O\n1 O\n",
        "1 Anna B\n2 sees O\n\n1 # O\n2 # O\n3 1 O\n",
        "1-2\tAnnas\t_\n1\tAnna\tB\n2\tsees\tO\n\n1\t#\tO\n2\t#\tO\n2.1\tx\tO\n3\t1\tO\n",
        "Anna\tB\t\nsees\tO\t\n\n#\tO\t\n#\tO\t\n1\tO\t\n",
    ],
)
def test_the_same_sentences_in_many_forms(tmp_path: Path, text: str) -> None:
    assert parse(written(tmp_path, text)).sentences == PLAIN


def test_comments_are_named_and_loudly_where_they_look_like_words(tmp_path: Path) -> None:
    plain = parse(written(tmp_path, "# sent_id = 1\nAnna B\nsees O\n"))
    said = "lines that begin with # are comments: 1 of them, such as '# sent_id = 1' in line 1"
    assert plain.notes == (said,)
    assert not Loud.among(plain.notes)
    like_a_word = parse(written(tmp_path, "# a b\nAnna B\nsees O\n\n# newpar\nit O\n"))
    assert "2 of them, such as '# newpar' in line 5" in Loud.among(like_a_word.notes)[0]


def universal(*words: str) -> str:
    lines = [word.split() for word in words]
    return "".join(
        f"{i}\t{form}\tx\t{upos}\t" + "\t".join("_" * 6) + "\n" for i, form, upos in lines
    )


def test_words_of_conllu_are_forms_with_their_part_of_speech(tmp_path: Path) -> None:
    text = "# text = vámonos al mar\n" + universal(
        "1-2 v\u00e1monos _", "1 vamos VERB", "2 nos PRON", "2.1 ya ADV", "3 mar _"
    )
    path = written(tmp_path, text, "some.conllu")
    data = lk.load(path, test=0.0)
    assert data.space.variables[0].labels == ("PRON", "VERB")
    assert data.given_space.names[0] == "word"
    assert data.given_space.variables[0].labels == ("mar", "nos", "vamos")
    assert data.train.batch.observed.tolist() == [[True, True, False]]
    assert "CoNLL-U: words are column 2, labels are column 4 (UPOS)" in data.notes
    told = parse(path).tagged([["VERB"], ["PRON"], ["NOUN"]], 1)
    assert told == text.replace("3\tmar\tx\t_", "3\tmar\tx\tNOUN")
    assert parse(path).tagged([["A"], ["B"], ["C"]], 2).splitlines()[2].endswith("_\tA")
    with pytest.raises(BadData, match="no word has a label"):
        lk.load(written(tmp_path, universal("1 a _", "2 b _"), "bare.conllu"))


def test_a_model_tells_numbers_of_words_from_words(tmp_path: Path) -> None:
    data = lk.load(written(tmp_path, "one O\n1 B\n2 O\n\none B\n3 O\n"), test=0.0)
    for text, lengths, known in (
        ("1 B\n2 O\n", [2], [True, True]),  # words and labels
        ("1 one\n2 3\n", [2], [False, False]),  # numbers and words
        ("1 one B\n2 3 _\n", [2], [True, False]),
        ("1\n2\n", [2], [False, False]),
    ):
        batch = conll.of_file(data.space, data.given_space, written(tmp_path, text, "new.conll"))
        assert batch.length.tolist() == lengths
        assert batch.present[0, :2].tolist() == known
        assert bool(batch.given.present[0, :2, 0].all())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna\tB\nNew York\n", "line 2.*mend"),
        ("Anna B\nNew York O\n", "3 columns where there should be 2 as in the first .*line 2"),
        ("Anna B\n# a comment\nsees O\n", "line 2.*put the comment before its sentence"),
        ("# a\n# b c d\n", "there are comments, and no sentences|add labels"),
        ("a " * 2000 + "\n", "over 1,000 columns .*line 1"),
        ("-DOCSTART-\n\n \n", "there are no sentences"),
        ("Anna B\n\ncaf\udce9 O\n", "is not UTF-8 .*line 3"),
    ],
)
def test_what_is_no_word_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "some.conll"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadData, match=words):
        lk.load(path)


def test_a_long_line_takes_memory_in_proportion(tmp_path: Path) -> None:
    path = written(tmp_path, "a " * 2_000_000 + "\n")
    tracemalloc.start()
    with pytest.raises(BadData, match="over 1,000 columns"):
        lk.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * path.stat().st_size


def test_parts_of_a_set_have_the_same_columns(tmp_path: Path) -> None:
    files = {
        "train": written(tmp_path, "Anna NN B\n", "train.conll"),
        "test": written(tmp_path, "Anna B\n", "test.conll"),
    }
    with pytest.raises(BadData, match=r"2 columns where the other part has 3 .*test.conll, line 1"):
        conll.read(files, name="some")
