"""Text files: which characters end a line, and which encodings are read."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

import likeness as lk
from likeness.core.errors import BadData
from likeness.data.textfile import decode, encode, lines, lines_with_ends

# str.splitlines cuts at each of these: vertical tab, form feed, separators of files, groups, records, lines, paragraphs
WITHIN = ("\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")
LETTERS = st.text(st.sampled_from(["a", "\n", "\r", "\f", "\u2028"]), max_size=12)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", WITHIN)
def test_a_line_of_text_is_an_item_whatever_stands_within_it(tmp_path, end, mark):
    written = [f"line {i} has{mark}two parts" for i in range(6)]
    (tmp_path / "some.txt").write_bytes("".join(line + end for line in written).encode())
    data = lk.load(tmp_path / "some.txt", test=0.0)
    assert data.train.batch.length.tolist() == [len(line) for line in written]


@pytest.mark.parametrize("mark", WITHIN)
def test_a_line_of_text_is_a_document(tmp_path, mark):
    (tmp_path / "some.txt").write_bytes(f"cat{mark}dog\nDog cat{mark}\n".encode())
    data = lk.load(tmp_path / "some.txt", test=0.0, words=1)
    assert data.train.batch.length.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("\n", [""]),
        ("a\n\nb", ["a", "", "b"]),
        ("a\rb\r", ["a", "b"]),
        ("a\rb\n", ["a\rb"]),
    ],
)
def test_a_lone_return_ends_lines_only_where_nothing_else_does(text, wanted):
    assert lines(text) == wanted


@given(LETTERS)
def test_lines_and_their_ends_are_the_text(text):
    assert "".join(line + end for line, end in lines_with_ends(text)) == text
    assert [line for line, _ in lines_with_ends(text)] == lines(text)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs",)), min_size=1)
    )
)
def test_no_other_character_ends_a_line(items):
    assert lines("".join(f"{item}\n" for item in items)) == items


MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("encoding", MARKED)
def test_a_byte_order_mark_tells_the_encoding_and_is_written_back(tmp_path, encoding):
    path = tmp_path / "some.txt"
    path.write_bytes(MARKED[encoding] + "größer\n".encode(encoding))
    assert decode(path) == "größer\n"
    assert encode("größer\n", path) == path.read_bytes()


@pytest.mark.parametrize(
    ("raw", "words", "line"),
    [
        ("fine\ncafé\n".encode("latin-1"), "byte 8 is not UTF-8", 2),
        (b"fine\r\rcut \xe2\x82", "byte 10 is not UTF-8", 3),
        (b"one\nlone \xed\xa0\x80\n", "byte 9 is not UTF-8", 2),
        (codecs.BOM_UTF16_LE + "a\n".encode("utf-16-le") + b"\x00\xd8", "byte 6 is not UTF-16", 2),
        ("plain\nwords\n".encode("utf-16-le"), "UTF-16 without a byte-order mark", 1),
        (b"a\nb\0\n", "a NUL character", 2),
    ],
)
def test_other_encodings_are_refused_with_the_line(tmp_path, raw, words, line):
    path = tmp_path / "some.txt"
    path.write_bytes(raw)
    with pytest.raises(BadData, match=words) as error:
        decode(path)
    assert error.value.where == f"{path}, line {line}"
