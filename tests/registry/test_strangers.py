"""Folders that somebody else wrote: refused in one sentence, within a second, without memory that they do not fill."""

import json
import os
import shutil
import struct

import numpy as np
import pytest
import torch

import likeness as lk
from likeness.core.errors import BadStore
from likeness.core.space import vector
from likeness.registry import build, reading, store
from tests.fuzz.harness import fuzz

FAMILIES = {
    "gaussian": {},
    "flow": {"hidden": (8,), "layers": 2},
    "autoregressive": {"hidden": (8,)},
    "mixture": {"components": 2},
    "vae": {"hidden": (8,), "latent": 2},
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A folder for each of a few families."""
    lk.open  # noqa: B018 - registers what opening looks up
    root = tmp_path_factory.mktemp("saved")
    return {
        name: store.save(build(name, options, vector(2)), root / name)
        for name, options in FAMILIES.items()
    }


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of a saved model, to be spoilt."""

    def copy(family="gaussian"):
        return shutil.copytree(saved[family], tmp_path / family)

    return copy


def refused(folder, *words):
    """Opening refuses in a sentence that holds these words, soon and in little memory."""

    def opening(place):
        with pytest.raises(BadStore) as error:
            lk.open(place)
        assert all(word in str(error.value) for word in words), str(error.value)
        raise error.value

    fuzz(opening, lambda _rng: folder, 1, megabytes=500)


def rewritten(folder, change):
    """The folder with a config that was changed by someone who knows how it is signed."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    config["digest"] = store.config_digest(config)
    path.write_text(json.dumps(config))
    return folder


def reweighed(folder, change):
    """The folder with other weights, signed again."""
    state, _ = reading.unpack(folder / "model.safetensors")
    change(state)
    packed = store.pack(state)
    (folder / "model.safetensors").unlink()  # what was read may still lie in the old file
    (folder / "model.safetensors").write_bytes(packed)
    return rewritten(folder, lambda config: config.update(weights=store.digest(state)))


def option(name, value):
    def change(config):
        section = next(s for s in ("family", "objective", "optimiser") if name in config[s])
        config[section][name] = value

    return change


def wide(*shape):
    return lambda config: config["space"].update(
        shape=list(shape), axes=[f"axis {k}" for k in range(len(shape))]
    )


def test_an_untouched_copy_opens(folder):
    for name in FAMILIES:
        assert lk.open(folder(name)).space == vector(2)


# ---- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("gaussian", wide(10**9)),
        ("gaussian", wide(10**6, 10**6)),
        ("gaussian", wide(100_000)),
        ("gaussian", wide(32_768)),
        ("gaussian", wide(3_000)),
        ("mixture", wide(20_000)),
        ("gaussian", wide(10**400)),
        ("flow", wide(10**6)),
        ("flow", wide(10**5)),
        ("flow", option("hidden", [10**9])),
        ("flow", option("hidden", [40_000, 40_000])),
        ("flow", option("hidden", [8] * 90_000)),
        ("flow", option("layers", 10**7)),
        ("flow", option("bins", 10**8)),
        ("autoregressive", option("hidden", [10**9])),
        ("autoregressive", option("components", 10**9)),
        ("mixture", option("components", 10**9)),
        ("mixture", option("components", 10**400)),
        ("vae", option("hidden", [8] * 50_000)),
        ("vae", option("latent", 10**7)),
    ],
)
def test_sizes_that_the_weights_do_not_bear_out_are_refused(folder, family, change):
    refused(rewritten(folder(family), change), "config.json")


def test_ever_deeper_families_are_refused(folder):
    def nest(config):
        inner = None
        for _ in range(300):
            inner = {"family": "vae", "prior": inner}
        config["family"]["prior"] = inner

    refused(rewritten(folder("vae"), nest), "config.json")


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize(
    ("put", "words"),
    [
        (os.mkfifo, "a pipe"),
        (os.mkdir, "a folder"),
        (lambda path: os.symlink("/dev/zero", path), "a device"),
        (lambda path: os.symlink(path, path), "cannot be read"),
        (lambda path: os.symlink(path.parent / "nowhere", path), "no such file"),
    ],
)
def test_what_is_no_file_is_not_read(folder, name, put, words):
    place = folder()
    (place / name).unlink()
    put(place / name)
    refused(place, words)


def test_a_path_without_sense_is_no_model():
    for path in ("nowhere", "", "a\0b", "a" * 5000):
        with pytest.raises(BadStore):
            lk.open(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{" * 10**6,
        b"[" * 10**7,
        b'{"a":' * 10**5,
        b'{"format": 1}',
        b'{"format": ' + b"9" * 10**5 + b"}",
        b"[" + b"1," * 5 * 10**7 + b"1]",
        b"[" + b"[]," * 4 * 10**6 + b"1]",
        b"[" + b'"ab",' * 3 * 10**6 + b"1]",
    ],
    ids=range(12),
)
def test_other_text_than_a_config_is_refused(folder, text):
    place = folder()
    (place / "config.json").write_bytes(text)
    refused(place, "config.json")


KEYS = (
    "format",
    "name",
    "family",
    "objective",
    "optimiser",
    "space",
    "given_space",
    "dtype",
    "weights",
    "digest",
)


@pytest.mark.parametrize("key", KEYS)
def test_a_config_without_a_key_is_refused(folder, key):
    place = folder()
    config = json.loads((place / "config.json").read_text())
    del config[key]
    (place / "config.json").write_text(json.dumps(config))
    refused(place, "format 'None'" if key == "format" else key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            (key, value)
            for key in KEYS[1:]
            for value in (3, [], "nothing of the kind")
            if key != "digest"
        ),
        *(("data", value) for value in (3, None, {}, {"rows": "many", "name": "x", "hash": ""})),
        *(("score", value) for value in (3, {"value": "high"}, {"rows": []})),
        *(("copies", value) for value in (3, {})),
        *((key, 3) for key in ("decisions", "notes", "remarks", "budget", "series", "times")),
        *((key, "x") for key in ("iterations", "seed")),
        ("notes", [3]),
        ("dtype", "int64"),
        ("dtype", "__class__"),
    ],
)
def test_a_config_with_another_type_under_a_key_is_refused(folder, key, value):
    refused(rewritten(folder(), lambda config: config.update({key: value})), "config")


def test_a_list_too_long_for_any_option_is_refused(folder):
    refused(rewritten(folder("flow"), option("hidden", ["x"] * 10**6)), "more options")


def test_labels_of_another_type_are_refused(folder):
    def many(config):
        config["space"]["variables"] = [
            {"type": "nominal", "categories": 10**6, "labels": list(range(10**6))}
        ]

    refused(rewritten(folder(), many), "0 is no text")


# ---- weights ---------------------------------------------------------------------------------------------------------


def header_of(entries, room):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + bytes(room)


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "held",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{",
        struct.pack("<Q", 4) + b"null",
        header_of({"a": entry(), "b": entry()}, 8),
        header_of({"a": entry(), "b": entry(offsets=(4, 12))}, 12),
        header_of({"a": entry(), "b": entry(offsets=(12, 20))}, 20),
        header_of({"a": entry(offsets=(8, 0))}, 8),
        header_of({"a": entry(offsets=(0, 4))}, 4),
        header_of({"a": entry(shape=(10**9, 10**9), offsets=(0, 4 * 10**18))}, 8),
        header_of({"a": entry(shape=(2**32, 2**32), offsets=(0, 0))}, 0),
        header_of({"a": entry(shape=(2**63, 0), offsets=(0, 0))}, 0),
        header_of({"a": entry(shape=(2**40, 2**40, 0), offsets=(0, 0))}, 0),
        header_of({"a": entry(shape=(-2, -1))}, 8),
        header_of({"a": entry(shape=(2.0,))}, 8),
        header_of({"a": entry(shape=(True, 2))}, 8),
        header_of({"a": entry(dtype="C64")}, 8),
        header_of({"a": entry(dtype=["F32"])}, 8),
        header_of({"a": {"dtype": "F32", "shape": [2]}}, 8),
        header_of({"a": 3}, 8),
        header_of({"a": entry(), "__metadata__": 3}, 8),
        header_of({"a": entry(), "__metadata__": {"facts": 3}}, 8),
        header_of({"a": entry()}, 9),
    ],
)
def test_a_head_that_is_not_borne_out_by_its_file_is_refused(folder, held):
    place = folder()
    (place / "model.safetensors").write_bytes(held)
    refused(place, "model.safetensors", "truncated or not a saved model")


def test_a_head_of_ever_deeper_lists_is_refused(folder):
    place = folder()
    (place / "model.safetensors").write_bytes(struct.pack("<Q", 10**5) + b"[" * 10**5)
    refused(place, "model.safetensors is not JSON")


def replaced(name, make):
    return lambda state: state.update({name: make(state[name])})


def spoilt(name, value):
    def change(state):
        state[name].reshape(-1)[0] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("cov"), "cov"),
        (lambda state: state.update(other=torch.zeros(1)), "do not fit the config"),
        (replaced("cov", lambda t: t[..., :1].contiguous()), "cov"),
        (replaced("cov", lambda t: t[0]), "cov"),
        (replaced("cov", lambda t: t.to(torch.int64)), "cov"),
        (replaced("cov", lambda t: t.to(torch.bool)), "cov"),
        (replaced("held_out", lambda t: torch.zeros(2, 3)), "held_out"),
        (spoilt("mean", torch.nan), "mean"),
        (replaced("held_out", lambda t: torch.tensor([0.0, torch.nan])), "held_out"),
    ],
)
def test_weights_of_another_model_are_refused(folder, change, words):
    refused(reweighed(folder(), change), words)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_parameters_that_are_no_numbers_are_refused(folder, value):
    place = folder("vae")
    name = next(name for name, _ in lk.open(place).named_parameters())
    refused(reweighed(place, spoilt(name, value)), name)


def test_held_out_scores_of_any_number_are_kept(folder):
    place = reweighed(folder(), replaced("held_out", lambda t: torch.linspace(0, 1, 7)))
    assert np.allclose(lk.open(place).held_out, np.linspace(0, 1, 7))


def test_a_bound_that_is_absent_is_no_spoilt_number(tmp_path):
    options = {"hidden": (8,), "real": "spline"}
    folder = store.save(build("autoregressive", options, vector(2)), tmp_path / "model")
    assert any(value.isnan().any() for value in lk.open(folder).state_dict().values())
