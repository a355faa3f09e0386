"""name=value: what is typed is what is meant, in any order, and what is wrong is named with its neighbour."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likeness.cli import options
from likeness.core.errors import BadConfig
from likeness.registry.index import read

NAMES = st.from_regex(r"[a-z][a-z_0-9]{0,8}", fullmatch=True)
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters=",()[]{}\"'")).filter(
    lambda t: not is_json(t)
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


def is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@settings(deadline=None)
@given(VALUES)
def test_json_is_read_as_json(value):
    assert options.value(json.dumps(value)) == value


@settings(deadline=None)
@given(PLAIN)
def test_other_text_is_itself(text):
    assert options.value(text) == text


@settings(deadline=None)
@given(st.lists(st.integers(), min_size=2), st.sampled_from(["{}", "({})", "({},)", "[{}]"]))
def test_numbers_between_commas_are_many(numbers, form):
    typed = ",".join(map(str, numbers))
    if form == "[{}]":
        typed = typed.replace(",", ", ")
    assert options.value(form.format(typed)) == numbers


@settings(deadline=None)
@given(st.text())
def test_any_word_is_read_or_refused(word):
    try:
        read_ = options.parse([word])
    except BadConfig:
        return
    assert len(read_) == 1
    assert "=" in word


@settings(deadline=None)
@given(
    st.dictionaries(
        NAMES, st.integers() | st.booleans() | st.lists(st.integers(), min_size=2), max_size=6
    )
)
def test_words_come_back_as_options(wanted):
    words = [f"{name}={json.dumps(value)}" for name, value in wanted.items()]
    assert options.parse(words) == wanted


def test_nested_options_stand_in_any_order():
    words = [
        "prior.prior.components=3",
        "prior=flow",
        "latent=8",
        "prior.layers=6",
        "prior.prior=mixture",
    ]
    nested = {"family": "flow", "layers": 6, "prior": {"family": "mixture", "components": 3}}
    for order in itertools.permutations(words):
        assert options.parse(order) == {"latent": 8, "prior": nested}
    assert options.parse(['prior={"family": "flow"}', "prior.layers=6"])["prior"] == {
        "family": "flow",
        "layers": 6,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["layers"], "'layers' is not an option"),
        (["=6"], "'=6' is not an option"),
        (["a..b=6"], "is not an option"),
        (["layers=6", "layers=7"], "'layers' is given twice"),
        (["prior=3", "prior.layers=6"], "both a value and a family"),
        (
            ['prior={"family": "flow", "layers": 2}', "prior.layers=6"],
            "'prior.layers' is given twice",
        ),
    ],
)
def test_words_without_sense_are_refused(words, said):
    with pytest.raises(BadConfig, match=said):
        options.parse(words)


@pytest.mark.parametrize(
    ("family", "word", "said"),
    [
        ("flwo", "layers=3", "'flwo'; did you mean 'flow'"),
        ("flow", "layer=3", "'layer'; did you mean 'layers'"),
        ("flow", "mixing=permute", "mixing cannot be 'permute'; did you mean 'permutation'"),
        ("flow", "budget=2m", "write it with two dashes: --budget"),
        ("gaussian", "zzz=1", "the options are covariance"),
    ],
)
def test_names_are_held_against_the_index(family, word, said):
    with pytest.raises(BadConfig, match=said):
        options.checked(family, [word])


@pytest.mark.parametrize(
    ("word", "said"), [("layers=0", "layers.*greater"), ("lr=quick", "lr.*number")]
)
def test_values_are_held_against_the_config(word, said):
    with pytest.raises(BadConfig, match=said):
        options.config(*options.checked("flow", [word]))


def test_values_take_the_form_of_their_type():
    rows = [
        {"name": "hidden", "type": "tuple[int, ...]"},
        {"name": "window", "type": "int | None"},
        {"name": "mixing", "type": "Literal['lu', 'none']"},
        {"name": "prior", "type": "Any"},
    ]
    got = options.against(
        rows, options.parse(["hidden=64", "window=none", "mixing=none", "prior=flow"])
    )
    assert got == {"hidden": [64], "window": None, "mixing": "none", "prior": {"family": "flow"}}
    with pytest.raises(BadConfig, match=r"'prior.layer'; did you mean 'layers'"):
        options.against(rows, options.parse(["prior=flow", "prior.layer=6"]))
    with pytest.raises(BadConfig, match="has options and no family"):
        options.against(rows, options.parse(["prior.layers=6"]))


@pytest.mark.parametrize("family", sorted(read()))
def test_every_default_can_be_typed(family):
    from likeness import registry
    from likeness.cli.families import shown

    rows = [row for row in read()[family]["options"] if "Any" not in str(row["type"])]
    words = [f"{row['name']}={shown(row['default'])}" for row in rows]
    config = options.config(*options.checked(family, words))
    indexed = registry.family(family).Config.parse({row["name"]: row["default"] for row in rows})
    for row in rows:
        told, own = getattr(config, row["name"]), getattr(indexed, row["name"])
        assert told == own or told == pytest.approx(own, rel=1e-5)
