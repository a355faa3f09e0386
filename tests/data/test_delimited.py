"""Delimited text: delimiters, quotes, names and what is no row are told by how the whole parses."""

import csv

import numpy as np
import pytest

import likeness as lk
from likeness.core.errors import BadData
from likeness.data.delimited import table
from likeness.data.source import NOTES, Loud


def loud(frame):
    return " ".join(note for note in frame.attrs[NOTES] if isinstance(note, Loud))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|", " ", ":", "^", "~"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_delimiter_is_found_beside_decimal_commas(tmp_path, mark, decimal):
    rng = np.random.default_rng(0)
    rows = [[f"{v:.2f}".replace(".", decimal) for v in rng.normal(0, 9, 3)] for _ in range(20)]
    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=mark).writerows([["a", "b", "c"], *rows])
    frame = table((tmp_path / "x.csv").read_text(), "x")
    assert (list(frame.columns), frame.to_numpy().tolist()) == (["a", "b", "c"], rows)


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("0,00;5,60\n-0,27;3,22\n", ["column 0", "column 1"], [["0,00", "5,60"], ["-0,27", "3,22"]]),
        ("Temp, C;p, bar\n21,02;0,95\n20,64;0,88\n", ["Temp, C", "p, bar"], [["21,02", "0,95"], ["20,64", "0,88"]]),
        ("x\n1,5\n2,5\n", ["x"], [["1,5"], ["2,5"]]),
        ("when\n2020-01-01 12:30:00\n2020-01-02 13:00\n", ["when"], [["2020-01-01 12:30:00"], ["2020-01-02 13:00"]]),
        ('a,b\n"two\nlines",1\n"x ""y"", z",2\n', ["a", "b"], [["two\nlines", "1"], ['x "y", z', "2"]]),
        ("'a','b'\n'x,y','1'\n'z','2'\n", ["a", "b"], [["x,y", "1"], ["z", "2"]]),
        ("a,b\nx\\,y,1\nz,2\n", ["a", "b"], [["x,y", "1"], ["z", "2"]]),
        ("sep=;\na;b\n1;2\n3;4\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        ("# made by hand, once\na,b\n1,2\n3,4\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        ("#a,b\n1,2\n3,4\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        ("| a | b |\n|---|---|\n| 1 | x |\n| 2 | y |\n", ["a", "b"], [["1", "x"], ["2", "y"]]),
        ("a,b,\n1,2,\n3,4,\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        ("a,b\nr1,1,2\nr2,3,4\n", ["Unnamed: 0", "a", "b"], [["r1", "1", "2"], ["r2", "3", "4"]]),
        ("  1.5   2\n 3.5 4\n", ["column 0", "column 1"], [["1.5", "2"], ["3.5", "4"]]),
        ("name,2019,2020\nBern,5,6\nZug,7,8\n", ["name", "2019", "2020"], [["Bern", "5", "6"], ["Zug", "7", "8"]]),
        ("0,1,2\n.5,1.5,2\n3,.25,1\n", ["0", "1", "2"], [[".5", "1.5", "2"], ["3", ".25", "1"]]),
        ("red,5\nblue,6\nred,7\n", ["column 0", "column 1"], [["red", "5"], ["blue", "6"], ["red", "7"]]),
        ("city,2020-01,2020-02\nA,5,6\nB,7,8\n", ["city", "2020-01", "2020-02"], [["A", "5", "6"], ["B", "7", "8"]]),
        ('x\n1\n""\n3\n', ["x"], [["1"], [""], ["3"]]),
    ],
)  # fmt: skip
def test_names_and_cells_are_those_that_a_reader_sees(text, names, rows):
    frame = table(text, "x.csv")
    assert (list(frame.columns), frame.to_numpy().tolist()) == (names, rows)


@pytest.mark.parametrize(
    ("text", "said", "rows"),
    [
        ("t,v\ns,kg\n1,2\n2,3\n3,4\n", "'s, kg' below the names holds no values", 3),
        ("k,v\na,2\nb,3\nTotal,5\n", "'Total, 5' looks like a total of those above: kept", 3),
        ("Sales of May\nk,v\na,2\nb,3\n", "line 1 ('Sales of May') is no part of the table", 2),
        ("k,v,w\na,2,1\nb,3,1\nSource: the office\n", "'Source: the office'", 2),
        ("k,v\na,2\nk,v\nb,3\n", "the names come again in 1 lines", 2),
        ("a b,c d\ne f,g h\n", "nothing tells whether the first line holds names", 1),
        ("x\n1\n\n3\n4\n", "1 blank lines are passed over", 3),
        ("1,5\n2,75\n", "each line could also be one number", 2),
        ('a,b\n1,2\n"3,4\n', "quotes part no cells", 2),
        ("k,v\na,2\n,\nb,3\n", "1 lines hold nothing but delimiters", 3),
    ],
)  # fmt: skip
def test_what_is_left_out_or_in_doubt_is_said(text, said, rows):
    frame = table(text, "x.csv")
    assert said in loud(frame)
    assert len(frame) == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 cells where 2 are expected"),
        ("a,b,c\n1,2,3\n4,5\n", "line 3 has 2 cells where 3 are expected"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        (" \n\n", "the file is empty"),
    ],
)
def test_what_cannot_be_a_table_is_refused_with_its_line(text, said):
    with pytest.raises(BadData, match=said):
        table(text, "x.csv")


def test_a_line_may_be_as_long_as_it_likes(tmp_path):
    genes = [f"gene {i}" for i in range(20_531)]
    rows = [
        ",".join(f"{v:.3f}" for v in np.random.default_rng(k).normal(size=20_531)) for k in range(3)
    ]
    frame = table("\n".join([",".join(genes), *rows]), "x.csv")
    assert (list(frame.columns), len(frame)) == (genes, 3)
    assert len(table("a,b\n" + f"{'x' * 200_000},1\ny,2\n", "x.csv")["a"][0]) == 200_000


def test_notes_of_a_file_are_those_of_its_loading(tmp_path):
    (tmp_path / "x.csv").write_text("k,v\na,2.5\nb,3.5\na,1.5\nTotal,7.5\n")
    assert any("looks like a total" in note for note in lk.load(tmp_path / "x.csv", test=0.0).notes)


def test_doubled_backslashes_are_escapes_and_single_ones_are_text():
    escaped = table('a;b\n1;"x\\\\y"\n2;"z\\\\"\n', "here")
    folders = table('a;b\n1;"c:\\x"\n2;"c:\\z"\n', "here")
    assert escaped["b"].tolist() == ["x\\y", "z\\"]
    assert folders["b"].tolist() == ["c:\\x", "c:\\z"]


def test_apostrophes_around_names_alone_are_quotes_and_around_a_few_cells_are_text():
    named = table("'size','name'\n1,2\n3,4\n", "here")
    spoken = table("size|said\n1|'yes'\n2|no\n3|'t was\n", "here")
    assert list(named) == ["size", "name"]
    assert spoken["said"].tolist() == ["'yes'", "no", "'t was"]


def test_quotes_that_open_in_one_line_and_end_in_another_part_no_lines_of_one_width():
    frame = table('a|b|c\n1|x|2\n|"went|3\n4|y|5\n6|said"|7\n8|z|9\n', "here")
    assert len(frame) == 5
    assert frame["b"].tolist() == ["x", '"went', "y", 'said"', "z"]


def test_colons_part_words_where_every_line_has_as_many():
    frame = table("who:note\n" + "Anna:red\nBen:blue\n" * 4, "here")
    assert list(frame) == ["who", "note"]
