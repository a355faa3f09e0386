"""Named sets: the bundled ones are scikit-learn's, the others are read from the user's folder or asked for."""

import gzip
import os
import struct

import numpy as np
import pytest
import sklearn.datasets
import torch

from likeness.api import load
from likeness.core.errors import BadData
from likeness.core.space import Ordinal, image, vector
from likeness.data import catalog

LENT = os.environ.get(catalog.VARIABLE)


def whole(data):
    """All rows of a hashed split in their own order."""
    parts = [p.batch for p in data.parts.values()]
    order = torch.cat([b.ids for b in parts]).argsort()
    return torch.cat([b.x for b in parts])[order], order


@pytest.mark.parametrize(
    ("name", "loader", "label"),
    [
        ("iris", "load_iris", "species"),
        ("wine", "load_wine", "cultivar"),
        ("breast-cancer", "load_breast_cancer", "diagnosis"),
    ],
)
def test_bundled_tables_are_those_of_scikit_learn(name, loader, label):
    found, data = getattr(sklearn.datasets, loader)(), load(name)
    x, order = whole(data)
    np.testing.assert_array_equal(x.numpy(), found.data)
    assert data.space.names == tuple(found.feature_names)
    assert data.space.real
    codes = torch.cat([data.labels[p] for p in data.parts])[order]
    names = [data.label_space.variables[0].labels[c] for c in codes]
    assert names == [str(found.target_names[t]) for t in found.target]
    for given in (label, "label"):
        assert load(name, given=given).given_space.names == (label,)


def test_roundings_of_bundled_tables_are_noted_and_can_be_bins():
    assert any("unbounded on repeated values" in n for n in load("iris").notes)
    assert all(v.resolution in {0.1, None} for v in load("iris", rounding="bins").space.variables)
    assert load("iris", rounding="bins").space.variables[0].resolution == 0.1


def test_digits_are_images_of_17_levels():
    data = load("digits")
    assert data.space == image(1, 8, 8, levels=17)
    np.testing.assert_array_equal(
        whole(data)[0][:, 0].numpy(), sklearn.datasets.load_digits().images
    )
    assert load("digits", given="label").given_space.label == 10


@pytest.mark.parametrize("name", [n for n, e in catalog.SETS.items() if e.get])
def test_what_is_absent_says_how_to_get_it(name, monkeypatch, tmp_path):
    monkeypatch.delenv(catalog.VARIABLE, raising=False)
    with pytest.raises(BadData, match=r"LIKENESS_DATA is not set.*get .*put the files in"):
        load(name)
    assert not catalog.available(name)
    monkeypatch.setenv(catalog.VARIABLE, str(tmp_path))
    with pytest.raises(BadData, match="is not here"):
        load(name)
    (tmp_path / (catalog.SETS[name].places or (name,))[0]).mkdir()
    with pytest.raises(BadData, match="lacks"):
        load(name)


def idx(path, x):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        gzip.compress(bytes([0, 0, 8, x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape) + x.tobytes())
    )


def test_four_idx_files_are_a_set(monkeypatch, tmp_path):
    rng, held = np.random.default_rng(0), {}
    for stem, n in (("train", 12), ("t10k", 5)):
        held[stem] = (
            rng.integers(0, 256, (n, 4, 4), dtype=np.uint8),
            np.arange(n, dtype=np.uint8) % 10,
        )
        idx(tmp_path / "mnist" / f"{stem}-images-idx3-ubyte.gz", held[stem][0])
        idx(tmp_path / "mnist" / f"{stem}-labels-idx1-ubyte.gz", held[stem][1])
    monkeypatch.setenv(catalog.VARIABLE, str(tmp_path))
    for what in ("mnist", tmp_path / "mnist"):
        data = load(what)
        assert data.space == image(1, 4, 4)
        np.testing.assert_array_equal(data.train.batch.x[:, 0].numpy(), held["train"][0])
        np.testing.assert_array_equal(data.test.batch.x[:, 0].numpy(), held["t10k"][0])
        assert data.labels["train"].tolist() == held["train"][1].tolist()
    one = load(tmp_path / "mnist" / "train-images-idx3-ubyte.gz", given="label", test=0)
    assert one.train.batch.given.x[:, 0].tolist() == held["train"][1].tolist()


@pytest.mark.parametrize("home", ["nltcs", "binary_density/nltcs"])
def test_binary_sets_keep_their_three_parts(monkeypatch, tmp_path, home):
    (tmp_path / home).mkdir(parents=True)
    for part, rows in (("train", 3), ("valid", 2), ("test", 1)):
        (tmp_path / home / f"nltcs.{part}.data").write_text("0,1,1\n" * rows)
    monkeypatch.setenv(catalog.VARIABLE, str(tmp_path))
    data = load("nltcs")
    assert [len(p) for p in data.parts.values()] == [3, 2, 1]
    assert data.space == vector(3, Ordinal(levels=2))
    assert data.test.batch.x.tolist() == [[0, 1, 1]]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "sizes", "shape"),
    [
        ("mnist", (60000, 10000), (1, 28, 28)), ("fashion-mnist", (60000, 10000), (1, 28, 28)),
        ("nltcs", (16181, 2157, 3236), (16,)), ("plants", (17412, 2321, 3482), (69,)),
        ("dna", (1600, 400, 1186), (180,)), ("adult", (32561, 16281), (15,)),
    ],
)  # fmt: skip
def test_lent_sets_have_their_published_sizes(name, sizes, shape):
    if LENT is None or not catalog.available(name):
        pytest.skip(f"{name} is not here")
    data = load(name)
    assert tuple(len(p) for p in data.parts.values()) == sizes
    assert data.space.layout == shape


@pytest.mark.data
def test_lent_tables_are_typed_as_a_reader_would():
    if LENT is None or not catalog.available("adult"):
        pytest.skip("adult is not here")
    data = load("adult", given="income")
    types = dict(zip(data.space.names, (v.type for v in data.space.columns), strict=True))
    assert data.given_space.variables[0].labels == ("<=50K", ">50K")
    assert [types[n] for n in ("workclass", "race", "age", "fnlwgt")] == [
        "nominal",
        "nominal",
        "real",
        "real",
    ]
    assert "column 'workclass' lacks 2799 of 48842 values" in data.notes
