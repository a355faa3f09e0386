"""load: splits that adding rows cannot move, whole groups, conditions kept with their rows, answers read back."""

import wave

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import likeness as lk
from likeness.api import load
from likeness.core.batch import Batch, as_batch
from likeness.core.draws import Draws
from likeness.core.errors import BadConfig, BadData, LikenessError
from likeness.core.space import (
    Count,
    Nominal,
    Ordinal,
    Real,
    Space,
    image,
    label,
    sequence,
    series,
    vector,
)
from likeness.data.source import Table
from likeness.data.synthetic import SYNTHETIC, world
from likeness.data.tables import groups

QUICK = settings(max_examples=40, deadline=None)


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2))


@QUICK
@given(st.integers(2, 200), st.integers(0, 100), st.floats(0.05, 0.6), st.integers(0, 2**53))
def test_adding_rows_moves_none(n, more, share, seed):
    small = Table(vector(2), Batch(torch.zeros(n, 2))).split(share, seed)
    large = Table(vector(2), Batch(torch.zeros(n + more, 2))).split(share, seed)
    sides = [set(part.batch.ids.tolist()) for part in small]
    assert sides[0] | sides[1] == set(range(n))
    assert not sides[0] & sides[1]
    assert sides[0]
    assert sides[1]
    if n >= 50:  # below, a side that came out empty is given its row of smallest hash
        wide = [set(part.batch.ids.tolist()) for part in large]
        assert [s & set(range(n)) for s in wide] == sides


def test_the_held_out_share_is_near_what_was_asked():
    data = load(rows(20_000), test=0.2, valid=0.25)
    assert abs(len(data.test) - 4000) < 5 * (20_000 * 0.2 * 0.8) ** 0.5
    assert abs(len(data.valid) - 4000) < 5 * (20_000 * 0.2 * 0.8) ** 0.5
    assert len(data) == 20_000
    assert load(rows(20), test=0).test.batch.x.shape == (0, 2)
    with pytest.raises(BadData, match="leaves nothing"):
        load(rows(20), test=1.0)


@QUICK
@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60), st.integers(0, 99))
def test_groups_stay_whole(who, seed):
    frame = pd.DataFrame({"x": rows(len(who))[:, 0], "who": who})
    data = load(frame, group="who", test=0.4, seed=seed)
    assert data.space.names == ("x",)
    sides = [{who[i] for i in part.batch.ids.tolist()} for part in (data.train, data.test)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == set(who)
    again = load(rows(len(who)), group=np.array(who), test=0.4, seed=seed)
    assert again.train.batch.ids.tolist() == data.train.batch.ids.tolist()


def test_every_group_has_a_number_of_its_own():
    names = [f"{kind} {i}" for kind in ("patient", "visit", "") for i in range(2000)]
    assert len(set(groups(names).tolist())) == len(names)
    assert groups([3, 3.0, "3"]).unique().numel() == 1


def test_a_split_depends_on_its_seed_alone():
    a, b, c = load(rows(100)), load(rows(100, seed=5)), load(rows(100), seed=1)
    assert a.test.batch.ids.tolist() == b.test.batch.ids.tolist() != c.test.batch.ids.tolist()


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy, lambda x: x.tolist(), pd.DataFrame])
def test_arrays_of_every_form_are_read_alike(form):
    data = load(form(rows(30)), test=0)
    np.testing.assert_array_equal(data.train.batch.x.numpy(), rows(30))
    assert data.space.real


def test_what_is_given_keeps_its_rows():
    x, y = rows(50), np.arange(50) % 3
    for data in (load(x, given=y), load((x, y)), load((torch.from_numpy(x), torch.from_numpy(y)))):
        assert data.given_space == label(3, ("0", "1", "2"))
        for part in (data.train, data.test):
            assert part.batch.given.x[:, 0].tolist() == (part.batch.ids % 3).tolist()
    assert load((x, rows(50, 1))).given_space == vector(2)
    assert load((x, np.zeros((50, 4, 4), np.uint8))).given_space.axes == (
        "channel",
        "height",
        "width",
    )
    assert load(x, given=[["a", "b"][i % 2] for i in range(50)]).given_space.label == 2
    with pytest.raises(BadData, match="50 items but 49 conditions"):
        load((x, y[1:]))
    with pytest.raises(BadData, match="nothing called 'label'"):
        load(x, given="label")
    with pytest.raises(BadConfig, match="pair"):
        load((x, y), given=y)


def test_a_known_space_is_taken_as_it_is():
    space = vector(2, (Real(resolution=0.5), Count()))
    assert load(np.array([[0.5, 3], [1, 2]]), space=space).space == space
    with pytest.raises(BadData, match="whole number"):
        load(np.array([[0.5, -3], [1, 2]]), space=space)


def test_worlds_come_with_their_truth():
    name = next(iter(SYNTHETIC))
    data = load(name, n=200, seed=4)
    assert len(data) == 200
    assert data.space == world(name).space
    assert data.truth.log_prob(data.test).value.isfinite().all()
    torch.testing.assert_close(load(name, n=200, seed=4).train.batch.x, data.train.batch.x)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("digitz", "did you mean 'digits'"),
        ("nowhere/at/all.csv", "no file or data set"),
        (np.zeros((1, 3)), "one row alone"),
        (np.array([[1.0, np.inf], [2.0, 3.0]]), r"inf is not a finite number .row 0, entry .1,."),
        ([], "empty"),
        ({"a": [1, 2], "b": [1]}, "unlike lengths"),
        (object(), "holds no numbers|not an array"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], "unlike"),
    ],
)
def test_each_fault_has_its_sentence(what, said):
    with pytest.raises(LikenessError, match=said) as caught:
        load(what)
    assert "\n" not in str(caught.value)


def test_the_nearest_file_is_named(tmp_path):
    (tmp_path / "flowers.csv").write_text("a\n1\n2\n")
    with pytest.raises(BadData, match=r"did you mean 'flowers\.csv'"):
        load(tmp_path / "flower.csv")
    (tmp_path / "flowers.docx").write_text("")
    with pytest.raises(BadData, match=r"'\.docx' are not read .*give \.csv"):
        load(tmp_path / "flowers.docx")


def test_wrong_shapes_are_named():
    space = load(rows(9)).space
    with pytest.raises(BadData, match="items of shape 3 where 2 is expected"):
        as_batch(space, np.zeros((4, 3)))
    with pytest.raises(BadData, match="words where numbers"):
        as_batch(space, ["a", "b"])


def test_labels_come_by_name():
    space = label(3, ("setosa", "versicolor", "virginica"))
    assert as_batch(space, ["virginica", None, "setosa"]).present[:, 0].tolist() == [
        True,
        False,
        True,
    ]
    assert as_batch(space, np.array(["versicolor", "setosa"])).x[:, 0].tolist() == [1, 0]
    assert as_batch(space, "virginica").x.tolist() == [[2]]
    with pytest.raises(
        BadData, match=r"'virginca'.*row 0, column 'label'.*did you mean 'virginica'"
    ):
        as_batch(space, "virginca")


# ---- text and sound ------------------------------------------------------------------------------------------------


@QUICK
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1),
        min_size=2,
        max_size=9,
    )
)
def test_text_comes_back(tmp_path_factory, items):
    data = load(items, test=0)
    path = tmp_path_factory.mktemp("text") / "x.txt"
    draws(data.space, data.train.batch.x, length=data.train.batch.length).save(path)
    assert path.read_text(encoding="utf-8") == "".join(f"{i}\n" for i in items)
    assert torch.equal(as_batch(data.space, items).x, data.train.batch.x)


def test_text_files_are_lines_or_pieces(tmp_path):
    (tmp_path / "poem.txt").write_text("to be\n\nor not\n", encoding="utf-8")
    data = load(tmp_path / "poem.txt", test=0)
    assert data.train.batch.length.tolist() == [5, 0, 6]
    assert data.notes == ("1 of 3 items are empty: their length is 0",)
    assert len(load(tmp_path / "poem.txt", width=4)) == 3
    with pytest.raises(BadData, match=r"'z' is no category.*row 1, character 0"):
        as_batch(data.space, ["to", "zoo"])
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(BadData, match=r"byte 3 is not UTF-8 .*latin.txt, line 1"):
        load(tmp_path / "latin.txt")


@pytest.mark.parametrize("words", [None, 1])
def test_empty_lines_keep_their_row_in_every_answer(tmp_path, words):
    (tmp_path / "poem.txt").write_text("to be\n\nor not\n\n\nto be\n" * 5)
    (tmp_path / "new.txt").write_text("\nor be\n\n")
    data = load(tmp_path / "poem.txt", test=0.0, words=words)
    assert len(data.train) == 30
    assert "15 of 30 items are empty: their length is 0" in data.notes
    model = lk.fit("independent", data, budget="5 steps", progress=False)
    assert model.log_prob(tmp_path / "new.txt").value.sign().tolist() == [0, -1, 0]
    assert model.log_prob(["", "or be", ""]).value.sign().tolist() == [0, -1, 0]


def test_texts_of_numbers_are_text_to_a_model_of_text(tmp_path):
    (tmp_path / "sums.txt").write_text("12 and 3\n45 and 6\n" * 5)
    (tmp_path / "new.txt").write_text("12\n345\n")
    model = lk.fit("independent", tmp_path / "sums.txt", budget="5 steps", progress=False)
    assert torch.equal(
        model.log_prob(tmp_path / "new.txt").value, model.log_prob(["12", "345"]).value
    )
    with pytest.raises(BadData, match=r"None where a text is expected .*row 1"):
        model.log_prob(["12", None])


def sound(path, samples, rate=8000):
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())


def test_sounds_are_read_and_written(tmp_path):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (3, 40))
    for i, s in enumerate(samples):
        sound(tmp_path / "wav" / f"{i}.wav", s)
    data = load(tmp_path / "wav", test=0)
    assert (data.space.shape, data.space.rate) == ((1, 40), 8000)
    np.testing.assert_array_equal(data.train.batch.x[:, 0].numpy() * 2**15, samples)
    draws(data.space, data.train.batch.x).save(tmp_path / "out.wav")
    again = load([load(tmp_path / "wav", test=0).train.batch.x[0, 0].numpy()] * 2, test=0)
    assert len(again.space.shape) == 1
    np.testing.assert_array_equal(
        as_batch(data.space, tmp_path / "out-0002.wav").x[0], data.train.batch.x[2]
    )
    sound(tmp_path / "wav" / "4.wav", samples[0][:7])
    assert load(tmp_path / "wav", test=0).train.batch.length.tolist() == [40, 40, 40, 7]
    sound(tmp_path / "wav" / "5.wav", samples[0], rate=44100)
    with pytest.raises(BadData, match=r"44100 Hz among sounds of 8000 Hz .*5\.wav"):
        load(tmp_path / "wav")
    (tmp_path / "wav" / "0.wav").write_bytes(b"RIFF")
    with pytest.raises(BadData, match=r"cannot be read .*0\.wav"):
        load(tmp_path / "wav")


# ---- answers -------------------------------------------------------------------------------------------------------


def draws(space, x, length=None, given=None):
    return Draws(x, space, "test", 7, length=length, given=given)


MIXED = Space(
    axes=("column",), shape=(4,), names=("size", "kind", "n", "stars"),
    variables=(Real(), Nominal(categories=2, labels=("rose", "tulip")), Count(), Ordinal(levels=5, start=1)),
)  # fmt: skip
MIXED_X = torch.tensor([[0.5, 1, 3, 4], [1.25, 0, 0, 0], [-2.0, 0, 17, 2]], dtype=torch.float64)


def test_frames_speak_the_users_language():
    frame = draws(MIXED, MIXED_X).to_pandas()
    assert frame.to_dict("list") == {
        "size": [0.5, 1.25, -2.0], "kind": ["tulip", "rose", "rose"], "n": [3, 0, 17], "stars": [5, 1, 3],
    }  # fmt: skip
    torch.testing.assert_close(as_batch(MIXED, frame).x, MIXED_X)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_saved_tables_are_read_back(tmp_path, suffix):
    path = draws(MIXED, MIXED_X).save(tmp_path / f"x{suffix}")
    torch.testing.assert_close(as_batch(MIXED, path).x, MIXED_X)


@pytest.mark.parametrize(
    ("space", "x", "length"),
    [
        (MIXED, MIXED_X, None),
        (image(3, 2, 2), torch.arange(24.0).reshape(2, 3, 2, 2), None),
        (sequence(4, 3), torch.tensor([[1.0, 3, 0], [2, 0, 0]]), torch.tensor([3, 1])),
        (series(2, 3), torch.arange(12.0).reshape(2, 3, 2), torch.tensor([3, 3])),
    ],
)
def test_saved_arrays_bring_their_space(tmp_path, space, x, length):
    path = draws(space, x, length).save(tmp_path / "x.npz")
    data = load(path, test=0)
    assert data.space == space
    assert torch.equal(data.train.batch.x, x)
    assert length is None or torch.equal(data.train.batch.length, length)
    flat = np.load(draws(space, x, length).save(tmp_path / "x.npy"), allow_pickle=False)
    known = data.train.batch.present.numpy()
    np.testing.assert_array_equal(flat[known], x.numpy()[known])
    assert np.isnan(flat[~known]).all()


def test_frames_of_images_and_sequences():
    frame = draws(image(1, 2, 2), torch.arange(8.0).reshape(2, 1, 2, 2)).to_pandas()
    assert list(frame.columns) == ["0_0_0", "0_0_1", "0_1_0", "0_1_1"]
    assert frame.iloc[1].tolist() == [4, 5, 6, 7]
    x, length = torch.tensor([[1.0, 3, 0], [2, 0, 0]]), torch.tensor([2, 1])
    frame = draws(sequence(4, 3), x, length).to_pandas()
    assert frame.to_numpy().tolist() == [[0, 0, 1], [0, 1, 3], [1, 0, 2]]
    assert list(frame.columns) == ["item", "step", "symbol"]


def test_draws_under_conditions_are_saved_flat(tmp_path):
    given_ = Batch(torch.tensor([[0.0], [1.0]]))
    path = draws(vector(2), torch.arange(12.0).reshape(3, 2, 2), given=given_).save(
        tmp_path / "x.npz"
    )
    with np.load(path, allow_pickle=False) as held:
        assert held["x"].shape == (6, 2)
        assert held["given"][:, 0].tolist() == [0, 1, 0, 1, 0, 1]
        assert int(held["seed"]) == 7


def test_unknown_suffixes_name_the_known():
    with pytest.raises(LikenessError, match=r"no writer for \.xyz; use one of .*\.csv.*\.npy"):
        draws(MIXED, MIXED_X).save("x.xyz")


def test_what_was_loaded_is_conditioned_by_name_as_what_is_loaded_so():
    frame = pd.DataFrame({
        "x": np.random.default_rng(0).normal(size=60), "kind": ["a", "b", "c"] * 20, "ill": [True, False] * 30,
    })  # fmt: skip
    for name in ("kind", "ill", ["kind", "ill"]):
        once, later = load(frame, given=name), load(load(frame), given=name)
        assert (once.space, once.given_space) == (later.space, later.given_space)
        for part in ("train", "test"):
            a, b = once.parts[part].batch, later.parts[part].batch
            assert torch.equal(a.x, b.x)
            assert torch.equal(a.given.x, b.given.x)
            assert torch.equal(a.ids, b.ids)
        model = lk.fit("independent", load(frame), given=name)
        assert model.given_space == once.given_space
        assert lk.fit("independent", load(frame).train, given=name).given_space == once.given_space
    with pytest.raises(BadData, match="no column 'kid'; did you mean 'kind'"):
        lk.fit("gaussian", load(frame), given="kid")


@pytest.mark.parametrize("name", ["label", "species"])
def test_a_label_kept_aside_is_found_by_its_name(name):
    data = load("iris")
    assert "'species' of 3 classes is kept aside" in str(data)
    later, once = load(data, given=name), load("iris", given=name)
    assert (later.space, later.given_space) == (once.space, once.given_space)
    assert torch.equal(later.train.batch.given.x, once.train.batch.given.x)
    assert "kept aside" not in str(later)
    model = lk.fit("gaussian", data, given=name)
    assert model.classify(data.test).labels == ("setosa", "versicolor", "virginica")


KINDS = ["a", "b", "a", "c"] * 10
X = np.random.default_rng(0).normal(size=(40, 2))


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(KINDS, name="kind"),
        pd.Series(KINDS, name="kind", dtype="category"),
        pd.DataFrame({"kind": KINDS}),
    ],
)
def test_a_series_is_a_column(values):
    data = load(values, test=0)
    assert (data.space.names, data.space.variables[0]) == (
        ("kind",),
        Nominal(categories=3, labels=("a", "b", "c")),
    )
    held = load(X, given=values, test=0)
    assert held.given_space.names == ("kind",)
    assert held.given_space.variables == data.space.variables
    assert torch.equal(held.train.batch.given.x, data.train.batch.x)
    numbers = load(pd.Series(X[:, 0], name="size"), test=0)
    assert numbers.space.names == ("size",)


def test_arrays_of_objects_and_records_are_tables():
    rows = np.array([[1.25, "a"], [2.5, "b"], [0.75, None]] * 10, dtype=object)
    record = np.array(
        [(1.25, "a"), (2.5, "b"), (0.75, "b")] * 10, dtype=[("x", float), ("s", "U1")]
    )
    for what in (rows, rows.tolist(), record):
        data = load(what, test=0)
        assert [v.type for v in data.space.variables] == ["real", "nominal"]
    assert load(record, test=0).space.names == ("x", "s")
    numbers = load(np.array([[1.25, None], [2.5, 3.5]] * 10, dtype=object), test=0)
    assert numbers.space.real
    assert numbers.train.batch.present[:2].tolist() == [[True, False], [True, True]]
    with pytest.raises(BadData, match=r"inf is not a finite number .row 1, entry"):
        load(np.array([[0.0, 1.0], [1.0, np.inf]]))


@pytest.mark.parametrize(
    "wrap", [np.array, list, pd.Series, lambda v: pd.DataFrame({"y": v}), torch.tensor]
)
@pytest.mark.parametrize(
    "values", [[0, 1] * 20, [0.0, 1.0] * 20, [False, True] * 20, [0, 1, 2, 2] * 10]
)
def test_classes_in_any_form_are_labels(wrap, values):
    held = load(X, given=wrap(values), test=0)
    assert held.given_space.label == len(set(values))
    assert held.train.batch.given.x[:, 0].tolist() == [float(v) for v in values]


@pytest.mark.parametrize("none", [None, np.nan])
@pytest.mark.parametrize("wrap", [list, lambda v: np.array(v, dtype=object), pd.Series])
@pytest.mark.parametrize("values", [["u", "v"], [0, 1], [3, 400]])
def test_labels_may_be_missing(wrap, values, none):
    held = load(X, given=wrap([*values * 19, none, none]), test=0)
    assert held.given_space.label == 2
    assert held.train.batch.given.present[:, 0].tolist() == [True] * 38 + [False] * 2
    assert held.train.batch.given.x[:2, 0].tolist() == [0, 1]
