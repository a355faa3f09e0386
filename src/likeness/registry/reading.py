"""Saved models, read: what a folder says is believed when its weights bear it out, whoever wrote it.

Opening reads two files, config.json and model.safetensors. It imports the family that the config
names, which is one that this package ships, that an installed package registers, or that the
running program has registered; it imports and calls nothing else that a folder could name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from likeness import registry
from likeness.core.errors import BadStore, LikenessError
from likeness.core.files import path_of
from likeness.core.model import Model
from likeness.registry import bounded, foreign, header
from likeness.registry.store import CONFIG, WEIGHTS, config_digest, digest, staged
from likeness.registry.stored import SECTIONS, checked

MOST_CONFIG = 1 << 24  # bytes of config.json
LABELS = 4  # bytes more for each byte of weights, since labels have weights


def unpack(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `pack` wrote, checked.

    Raises:
        BadStore: If the file is missing, truncated or was changed.
    """
    # The head is checked before the file is mapped into memory.
    said = header.read(path)
    try:
        tensors = _tensors(path, said)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise BadStore(
            "the file is truncated or not a saved model",
            where=str(path),
            do="save or train it again",
        ) from error
    if said.metadata.get("sha256") != digest(tensors):
        raise BadStore(
            "the file was changed after it was saved", where=str(path), do="save or train it again"
        )
    return tensors, said.facts(path)


def _tensors(path: Path, said: header.Header) -> dict[str, Tensor]:
    """The tensors that a head names; safetensors opens no path that is no UTF-8, but reads its bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return safetensors.torch.load(path.read_bytes())
    with safe_open(str(path), framework="pt") as file:
        return {name: file.get_tensor(name) for name in said.entries}


def open_model(path: str | Path) -> Model:
    """The model that `save` wrote; nothing that the folder says is believed before the weights bear it out.

    Raises:
        BadStore: If the folder is not a saved model, is truncated, tampered with, or of another
            format.
    """
    folder = path_of(path)
    # A model may be replaced while it is read: then it is read again.
    while True:
        before = _stamps(folder)
        try:
            return _opened(folder)
        except BadStore:
            if _stamps(folder) == before:  # else another model has taken its place meanwhile
                raise


def _opened(folder: Path) -> Model:
    config = read_config(folder)
    # A save that was killed after its commit leaves weights under their staged name.
    weights = staged(folder / WEIGHTS, config)
    if not os.path.lexists(weights):
        weights = folder / WEIGHTS
    # Sizes and names from the head, then a new model, and only then the weights.
    said = header.read(weights)
    model = _built(config, said, folder / CONFIG)
    _hold(model, said.entries, str(folder))
    state, _ = unpack(weights)
    if digest(state) != config["weights"]:
        raise BadStore(
            "the weights are not those that the config was saved with",
            where=str(folder),
            do="save it again",
        )
    load_state(model, state, str(folder))
    model.facts = {k: v for k, v in config.items() if k not in _OWN}
    return model.eval()


def _stamps(folder: Path) -> list[tuple[int, int, int]]:
    """What tells whether files were replaced."""
    stamps = []
    for name in (CONFIG, WEIGHTS):
        with suppress(OSError, ValueError):
            status = (folder / name).stat()
            stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return stamps


_OWN = {
    *("format", "name", "family", "objective", "optimiser", "space", "given_space"),
    *("dtype", "versions", "digest", "weights"),
}


def _built(config: dict[str, Any], said: header.Header, where: Path) -> Model:
    """A new model as the config describes it, no larger than its weights.

    Whatever goes wrong while it is built, the config is at fault: a person would not have got
        beyond `fit` with it.
    """
    # The config is validated, and its Spaces are no larger than the weights make plausible.
    stored = checked(config, where)
    for space in (stored.space, stored.given_space):
        if space is not None and not bounded.plausible(space, said.numbers):
            raise bounded.too_large(str(where))
    sections = {name: config[name] for name in SECTIONS}
    # Building counts operations and numbers, so that a forged config cannot exhaust memory.
    try:
        chosen = registry.family(stored.name)
        with bounded.bounded(len(said.entries), said.numbers, str(where)):
            options = chosen.Config.from_sections(sections)
            model = registry.build(stored.name, options, stored.space, stored.given_space)
    except BadStore:
        raise
    except LikenessError as error:
        raise BadStore(f"config.json: {error.what}", where=str(where), do=error.do) from error
    except Exception as error:
        raise BadStore(
            f"config.json describes no model that can be built: {type(error).__name__}",
            where=str(where),
            do="save or train it again",
        ) from error
    return model.to(getattr(torch, stored.dtype))


def _hold(model: Model, entries: Mapping[str, header.Entry], where: str) -> None:
    """Refuse weights of other names, shapes or kinds of numbers than the model's.

    Sizes that a new model has as 0 are the data's to decide: held-out scores, kernels, indicators.
    """
    state = model.state_dict()
    for name in [*state, *entries]:
        if name not in state or name not in entries or not _alike(state[name], entries[name]):
            shown = f": {name}" if name in state else ""
            raise BadStore(
                f"the weights do not fit the config{shown}", where=where, do="save the model again"
            )


def _alike(mine: Tensor, other: header.Entry | Tensor) -> bool:
    """Whether a saved tensor can take the place of a new model's."""
    sizes = len(mine.shape) == len(other.shape) and all(
        a in {0, b} for a, b in zip(mine.shape, other.shape, strict=True)
    )
    return (
        sizes
        and mine.dtype.is_floating_point == other.dtype.is_floating_point
        and ((mine.dtype is torch.bool) == (other.dtype is torch.bool))
    )


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, every key of the type that it should have, checked against its own digest.

    Raises:
        BadStore: If there is none, or it is no saved model's.
    """
    path = folder / CONFIG
    if "\0" not in str(path) and not os.path.lexists(path):
        raise BadStore(
            "this is not a saved model: it has no config.json",
            where=str(folder),
            do="check the path",
        )
    # Labels make a config long, in proportion to the weights of their categories.
    most = MOST_CONFIG + LABELS * _weighing(folder)
    config: dict[str, Any] = foreign.parsed(foreign.read(path, most), path)
    checked(config, path)
    if config["digest"] != config_digest(config):
        raise BadStore(
            "config.json was changed after it was saved", where=str(path), do="save the model again"
        )
    return config


def _weighing(folder: Path) -> int:
    """Bytes of the largest file of weights, which may be staged."""
    sizes = [0]
    with suppress(OSError, ValueError):
        for path in (*folder.glob(WEIGHTS), *folder.glob(f".{WEIGHTS}.*")):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                sizes.append(status.st_size)
    return max(sizes)


def load_state(model: Model, state: dict[str, Tensor], where: str) -> None:
    """Load a state, some of whose sizes the data decided (held-out scores, kernels, indicators).

    Raises:
        BadStore: If it is not of this model, or holds what no model learns: NaN, or an infinite
            parameter.
    """
    _hold(model, {name: header.Entry(t.dtype, tuple(t.shape)) for name, t in state.items()}, where)
    parameters = dict(model.named_parameters())
    fresh = model.state_dict()
    # Each tensor is finite and of the model's kind; places take the saved sizes.
    for name, saved in state.items():
        if _spoilt(saved, fresh[name], parameter=name in parameters):
            raise BadStore(
                f"the weights hold numbers that are none: {name}",
                where=where,
                do="train the model again",
            )
        _make_room(model, name, saved)
    model.load_state_dict(state)


def _spoilt(saved: Tensor, fresh: Tensor, *, parameter: bool) -> bool:
    """Whether a parameter is not finite, or a buffer is NaN where the config does not make it so (an absent bound)."""
    if parameter:
        return not bool(saved.isfinite().all())
    wrong = saved.isnan()
    if saved.shape == fresh.shape:
        wrong &= ~fresh.isnan().to(wrong.device)
    return bool(wrong.any())


def _make_room(model: Model, name: str, saved: Tensor) -> None:
    """A place of the saved size, where the new model's has another."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    place = getattr(module, leaf)
    if place.shape == saved.shape:
        return
    if isinstance(place, torch.nn.Parameter):
        place.data = torch.empty_like(saved)
    else:
        setattr(module, leaf, torch.empty_like(saved))
