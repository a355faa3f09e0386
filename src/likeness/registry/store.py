"""Saved models: a folder of config.json, model.safetensors, card.md; written whole or not at all, never pickled.

A model takes the place of another in one step. Its files are staged beside those of the old one,
under names that end in what config.json will say of itself; then config.json is replaced, which is
the step; then they take their names. Whoever reads config.json knows the weights by it, under
either name.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from likeness import registry
from likeness.core.errors import BadStore, LikenessError
from likeness.core.files import patiently, sweep, write_atomic
from likeness.core.lock import claim
from likeness.core.model import WRITERS, Model
from likeness.core.space import Space
from likeness.core.words import copies_in_words

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "card.md"
STAGED = ".staged"
COMMIT = 16  # digits of config.json's digest that staged files are named by


def pack(tensors: dict[str, Tensor], facts: dict[str, Any] | None = None) -> bytes:
    """Tensors and JSON facts as one safetensors file; tensors that share storage are stored apart."""
    meta = {"facts": json.dumps(facts or {}), "sha256": digest(tensors)}
    own = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    return safetensors.torch.save(own, metadata=meta)


def unpack(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `pack` wrote, checked.

    Raises:
        BadStore: If the file is missing, truncated or was changed.
    """
    if not path.exists():
        raise BadStore("there is no such file", where=str(path), do="check the path")
    try:
        with safe_open(str(path), framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise BadStore(
            "the file is truncated or not a saved model",
            where=str(path),
            do="save or train it again",
        ) from error
    if meta.get("sha256") != digest(tensors):
        raise BadStore(
            "the file was changed after it was saved", where=str(path), do="save or train it again"
        )
    facts: dict[str, Any] = json.loads(meta["facts"])
    return tensors, facts


def digest(tensors: dict[str, Tensor]) -> str:
    """A hash of names, types, shapes and bits."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}|{t.dtype}|{tuple(t.shape)}|".encode())
        sha.update(t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b"")
    return sha.hexdigest()


def describe(model: Model, facts: dict[str, Any]) -> dict[str, Any]:
    """What config.json holds: family, objective, optimiser, Spaces, versions, decisions."""
    config = {
        "format": FORMAT,
        "name": registry.name_of(model.config),
        **model.config.sections(),
        "space": json.loads(model.space.to_json()),
        "given_space": None
        if model.given_space is None
        else json.loads(model.given_space.to_json()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        **facts,
    }
    config["digest"] = _config_digest(config)
    return config


def _config_digest(config: dict[str, Any]) -> str:
    kept = {k: v for k, v in config.items() if k != "digest"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def save(
    model: Model,
    path: str | Path,
    facts: dict[str, Any] | None = None,
    *,
    beside: Mapping[str, bytes] | None = None,
) -> Path:
    """Save a model as a folder, with what belongs beside it; one that is there is replaced whole.

    Raises:
        LikenessError: If another process writes there, or the disk is full: then what was there is
            untouched.
    """
    folder = Path(path)
    state = model.state_dict()
    known = {**getattr(model, "facts", {}), **(facts or {}), "weights": digest(state)}
    config = describe(model, known)
    contents = {WEIGHTS: pack(state), CARD: card(model, config).encode(), **(beside or {})}
    with claim(folder):
        settle(folder)
        try:
            for name, data in contents.items():
                write_atomic(_staged(folder / name, config), data)
            write_atomic(folder / CONFIG, json.dumps(config, indent=2).encode())
        except LikenessError as error:
            what = error.what.replace("nothing was written", "the model was not saved")
            raise LikenessError(what, where=str(folder), do=error.do) from error
        finally:
            settle(folder)
    return folder


WRITERS.append(save)


def _staged(path: Path, config: Mapping[str, Any]) -> Path:
    return path.with_name(f".{path.name}.{config['digest'][:COMMIT]}{STAGED}")


def settle(folder: Path) -> None:
    """Give the files of the model that is saved their names, and remove those of saves that failed or were killed.

    The folder must be claimed. What is in use stays as it is until the next time.
    """
    sweep(folder)
    commit = _commit(folder)
    for staged in folder.glob(f".*{STAGED}"):
        name, _, own = staged.name.removesuffix(STAGED)[1:].rpartition(".")
        with suppress(OSError):
            if own == commit:
                staged.replace(folder / name)
            else:
                staged.unlink()


def _commit(folder: Path) -> str | None:
    """What the files of the model that is saved are named by while they are staged; None where there is no model."""
    try:
        return str(json.loads((folder / CONFIG).read_bytes())["digest"])[:COMMIT]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def open_model(path: str | Path) -> Model:
    """The model that `save` wrote.

    Raises:
        BadStore: If the folder is not a saved model, is truncated, tampered with, or of another
            format.
    """
    folder = Path(path)
    config, state = _whole(folder)
    chosen = registry.family(config["name"])
    parts = {k: config[k] for k in ("family", "objective", "optimiser")}
    given = config["given_space"]
    model = registry.build(
        config["name"],
        chosen.Config.from_sections(parts),
        Space.model_validate(config["space"]),
        None if given is None else Space.model_validate(given),
    )
    model = model.to(getattr(torch, config["dtype"]))
    load_state(model, state, str(folder))
    model.facts = {k: v for k, v in config.items() if k not in _OWN}
    return model.eval()


def _whole(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A config and its own weights, also while other models take their place."""
    while True:
        before = _stamps(folder)
        try:
            config = read_config(folder)
            return config, _weights(folder, config)
        except BadStore:
            if _stamps(folder) == before:
                raise


def _stamps(folder: Path) -> list[tuple[int, int, int]]:
    """What tells whether files were replaced."""
    stamps = []
    for name in (CONFIG, WEIGHTS):
        with suppress(OSError):
            found = (folder / name).stat()
            stamps.append((found.st_ino, found.st_mtime_ns, found.st_size))
    return stamps


def _weights(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a config: staged, until they have their name."""
    with suppress(BadStore):
        return unpack(_staged(folder / WEIGHTS, config))[0]
    state, _ = unpack(folder / WEIGHTS)
    if digest(state) != config["weights"]:
        raise BadStore(
            "the weights are not those that the config was saved with",
            where=str(folder),
            do="save it again",
        )
    return state


_OWN = {
    *("format", "name", "family", "objective", "optimiser", "space", "given_space"),
    *("dtype", "versions", "digest", "weights"),
}


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, checked against its own digest."""
    path = folder / CONFIG
    if not path.exists():
        raise BadStore(
            "this is not a saved model: it has no config.json",
            where=str(folder),
            do="check the path",
        )
    try:
        found = json.loads(patiently(lambda: path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise BadStore(
            "config.json is not JSON", where=str(path), do="save the model again"
        ) from error
    config: dict[str, Any] = found if isinstance(found, dict) else {}
    if config.get("format") != FORMAT:
        raise BadStore(
            f"format {config.get('format')!r} where {FORMAT} is read",
            where=str(path),
            do="use the version that wrote it",
        )
    if config.get("digest") != _config_digest(config):
        raise BadStore(
            "config.json was changed after it was saved", where=str(path), do="save the model again"
        )
    return config


def load_state(model: Model, state: dict[str, Tensor], where: str) -> None:
    """Load a state whose tensors may have other sizes than a new model's (held-out scores, histograms, indicators)."""
    for name, parameter in model.named_parameters():
        saved = state.get(name)
        if saved is not None and saved.shape != parameter.shape:
            parameter.data = torch.empty_like(saved)
    for name, value in list(model.named_buffers()):
        saved = state.get(name)
        if saved is not None and saved.shape != value.shape:
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, torch.empty_like(saved))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise BadStore(
            "the weights do not fit the config", where=where, do="save the model again"
        ) from error


def _copies(config: dict[str, Any]) -> list[str]:
    if config.get("copies"):
        return [f"- {copies_in_words(config['copies'])}"]
    return []


CARD_PARTS: list[Callable[[Model, dict[str, Any]], str]] = []


def card(model: Model, config: dict[str, Any]) -> str:
    """The model card: what it is, what it was fitted to, what it can answer, with which reference."""
    about = registry.CARDS[config["name"]]
    verbs = []
    for verb in (
        "sample",
        "log_prob",
        "complete",
        "mode",
        "encode",
        "decode",
        "classify",
        "anomaly_score",
    ):
        answer = model.support(verb)
        verbs.append(f"| {verb} | {', '.join(answer.routes) if answer else 'no: ' + answer.why} |")
    lines = [
        f"# {about.title}",
        "",
        f"{about.summary} ({about.reference}, {about.year})",
        "",
        f"- over {model.space.measure}, shape {model.space.shape}",
        f"- {model.count():,} parameters",
        *[f"- {remark}" for remark in config.get("remarks", ())],
        *_copies(config),
        "",
        "| question | answered by |",
        "|---|---|",
        *verbs,
        "",
        *[part(model, config) for part in CARD_PARTS],
    ]
    return "\n".join(lines) + "\n"
