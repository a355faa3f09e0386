"""Folders of saved models that anybody wrote: configs and heads of weights are believed or refused in a sentence."""

import json
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

import likeness as lk
from likeness.core.space import vector
from likeness.registry import build, header, reading, store
from tests.fuzz import inputs
from tests.fuzz.harness import fuzz, runs

FAMILIES: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "flow": {"hidden": (8,), "layers": 1, "bins": 4},
    "autoregressive": {"hidden": (8,)},
    "mixture": {"components": 2},
    "vae": {"hidden": (8,), "latent": 2},
    "vi": {"target": "nowhere:density"},
}
DTYPES = ("F32", "F64", "I64", "BOOL", "F8_E4M3", "C64", "", None)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, Path]:
    """A folder of each of a few families."""
    lk.open  # noqa: B018 - registers what opening looks up
    root = tmp_path_factory.mktemp("saved")
    return {
        name: store.save(build(name, options, vector(2)), root / name)
        for name, options in FAMILIES.items()
    }


@pytest.fixture
def folders(saved, tmp_path) -> dict[str, Path]:
    """Copies to be spoilt."""
    return {name: shutil.copytree(place, tmp_path / name) for name, place in saved.items()}


def signed(config: Any) -> Any:
    """A config with the digest that it would be saved with, where it can have one."""
    if not isinstance(config, dict):
        return config
    try:
        return {**config, "digest": store.config_digest(config)}
    except Exception:
        return config


@runs(few=150)
def test_any_config_opens_or_is_refused(folders, n):
    good = {
        name: json.loads((place / "config.json").read_text()) for name, place in folders.items()
    }

    def make(rng: random.Random) -> tuple[str, bytes]:
        name = rng.choice(list(good))
        config = good[name]
        for _ in range(rng.randrange(1, 3)):
            config = inputs.changed(rng, config)
        text = json.dumps(signed(config) if rng.random() < 0.9 else config).encode()
        return name, inputs.mangled(rng, text) if rng.random() < 0.1 else text

    def opening(said: tuple[str, bytes]) -> None:
        name, text = said
        (folders[name] / "config.json").write_bytes(text)
        model = lk.open(folders[name])
        assert model.space.dims == 2

    fuzz(opening, make, n)


@runs(few=150)
def test_any_options_of_a_saved_model_open_or_are_refused(folders, n):
    good = {
        name: json.loads((place / "config.json").read_text()) for name, place in folders.items()
    }

    def make(rng: random.Random) -> tuple[str, dict[str, Any]]:
        name = rng.choice(list(good))
        part = rng.choice(("family", "objective", "optimiser", "space"))
        return name, signed({**good[name], part: inputs.changed(rng, good[name][part])})

    def opening(said: tuple[str, dict[str, Any]]) -> None:
        name, config = said
        (folders[name] / "config.json").write_text(json.dumps(config))
        lk.open(folders[name])

    fuzz(opening, make, n)


def heads(rng: random.Random, good: bytes) -> bytes:
    """A file of weights with another head, or with bytes of it changed."""
    size = struct.unpack("<Q", good[:8])[0]
    body = good[8 + size :]
    said = json.loads(good[8 : 8 + size])
    kind = rng.random()
    if kind < 0.3:
        return inputs.mangled(rng, good)
    if kind < 0.8:
        said = inputs.changed(rng, said)
    else:
        name = rng.choice(list(said))
        shape = [rng.choice((0, 1, 2, 3, 2**31, 2**63, -1)) for _ in range(rng.randrange(3))]
        ends = [rng.choice((0, 4, 8, 16, len(body), 2**63)) for _ in range(2)]
        said = {**said, name: {"dtype": rng.choice(DTYPES), "shape": shape, "data_offsets": ends}}
    text = json.dumps(said).encode()
    length = len(text) if rng.random() < 0.9 else rng.choice((0, 1, size, 2**31, 2**63))
    return struct.pack("<Q", length) + text + body


@runs()
def test_any_head_of_weights_is_read_or_refused(folders, n):
    path = folders["gaussian"] / "model.safetensors"
    good = path.read_bytes()
    path.unlink()  # the saved file may be the one that was linked

    def read(made: bytes) -> None:
        path.write_bytes(made)
        said = header.read(path)
        assert said.numbers * 8 + 8 >= 0
        reading.unpack(path)

    fuzz(read, lambda rng: heads(rng, good), n)


@runs(few=100)
def test_any_weights_open_or_are_refused(folders, n):
    place = folders["mixture"]
    good = (place / "model.safetensors").read_bytes()

    def opening(made: bytes) -> None:
        (place / "model.safetensors").write_bytes(made)
        lk.open(place)

    fuzz(opening, lambda rng: heads(rng, good), n)
