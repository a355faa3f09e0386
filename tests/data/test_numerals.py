"""Numbers as people write them: each form is read, said in a line, and written again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likeness.data.numerals import NumberForm, code_among, read


@pytest.mark.parametrize(
    ("texts", "values", "form"),
    [
        (["1.50", "2.25"], [1.5, 2.25], "0.00"),
        (["(1.50)", "3.25"], [-1.5, 3.25], "0.00;()"),
        (["($1,032.30)", "$17.41"], [-1032.3, 17.41], "$#,##0.00;()"),
        (["1'234.50", "-17.50"], [1234.5, -17.5], "#'##0.00"),
        (["12,34,567", "1,234"], [1234567, 1234], "#,##,##0"),
        (["1,5E+03", "2,5E-02"], [1500, 0.025], "0,0E+00"),
        (["1.234,50", "2,25"], [1234.5, 2.25], "#.##0,00"),
        (["1.234.567", "5"], [1234567, 5], "#.##0"),
        (["0,123", "5,678"], [0.123, 5.678], "0,000"),
        (["1\u2009234,5", "2\u2009345,6"], [1234.5, 2345.6], "#\u2009##0,0"),
        (["5.0-", "6.5"], [-5, 6.5], "0.0;0-"),
        (["\u22125", "6"], [-5, 6], "0;\u2212"),
        (["12.5%", "7.0%"], [12.5, 7], "0.0%"),
        (["12 kg", "13.5 kg"], [12, 13.5], "0.# kg"),
        (["CHF 1'234.50", "CHF 5.00"], [1234.5, 5], "CHF #'##0.00"),
    ],
)
def test_amounts_are_read_and_written_as_they_stood(texts, values, form):
    found = read(texts)
    assert found.values.tolist() == values
    assert str(found.form) == form
    assert NumberForm.parse(form) == found.form
    again = [found.form.write(value) for value in found.values]
    assert read(again, found.form).values.tolist() == values
    assert again == texts or "#" in form.partition(".")[2]


@pytest.mark.parametrize(
    "texts",
    [["$1", "€2"], ["12 kg", "13"], ["1,2,3"], ["1.2.3"], ["12:30"], ["1 2"], ["(1)", "(2)"],
     ["3x", "5x"], ["1,23,4.5"], ["5%", "$5"], ["-(5)", "3"], ["12a", "13b"]],
)  # fmt: skip
def test_what_is_no_number_of_one_form_is_none(texts):
    assert read(texts) is None


def test_marks_that_could_be_either_are_told_by_the_other_columns():
    assert read(["1,234", "5,678"]).values.tolist() == [1234, 5678]
    assert read(["1,234", "5,678"], comma=True).values.tolist() == [1.234, 5.678]
    assert read(["1.234", "5.678"]).values.tolist() == [1.234, 5.678]
    assert read(["1.234", "5.678"], comma=True).values.tolist() == [1234, 5678]
    assert all(read([text]).either for text in ("1,234", "1.234"))
    assert not any(read([text]).either for text in ("1,23", "1.2345", "1'234", "1,234.5"))


@pytest.mark.parametrize(
    ("texts", "code"),
    [(["5", "01067"], "01067"), (["1436278513418522630", "5"], "1436278513418522630"),
     (["9007199254740993"], "9007199254740993"), (["9007199254740992", "12"], None),
     (["+4179123456"], "+4179123456"), (["0", "1"], None), (["0.5", "01"], None), (["-5", "007"], None)],
)  # fmt: skip
def test_codes_are_no_numbers(texts, code):
    assert code_among(texts) == code


FORMS = st.builds(
    lambda decimal, mark, pairs, least, more, before, after, negative: NumberForm(
        decimal, "" if mark == decimal else mark, pairs and mark not in {"", decimal}, least, least + more,
        "", before, "" if before else after, negative,
    ),
    st.sampled_from([".", ","]), st.sampled_from(["", ",", ".", "'", "\u202f"]), st.booleans(),
    st.integers(1, 3), st.integers(0, 2), st.sampled_from(["", "$", "EUR "]), st.sampled_from(["", "%", " kg"]),
    st.sampled_from(["-", "()", "0-", "\u2212"]),
)  # fmt: skip


@given(FORMS, st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=8))
def test_what_a_form_writes_it_reads(form, cents):
    assert NumberForm.parse(str(form)) == form
    values = np.array(cents) / 10**form.least
    found = read([form.write(value) for value in values], form)
    assert found is not None
    np.testing.assert_allclose(found.values, values, rtol=1e-12)
