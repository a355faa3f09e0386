"""Saved models: a folder of config.json, model.safetensors, card.md; written whole or not at all, never pickled."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from likeness import registry
from likeness.core.errors import BadStore, LikenessError
from likeness.core.model import Model
from likeness.core.space import Space
from likeness.core.words import copies_in_words

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "card.md"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or leave what was there.

    Raises:
        LikenessError: If the disk is full or the place cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise LikenessError(
            f"nothing was written: {reason.lower()}",
            where=str(path),
            do="free some room or choose another place",
        ) from error


def sweep(folder: Path) -> None:
    """Remove what processes that were killed while writing have left half done."""
    for partial in folder.glob(".*.partial"):
        partial.unlink(missing_ok=True)


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
    except (SafetensorError, OSError, ValueError) as error:
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


def save(model: Model, path: str | Path, facts: dict[str, Any] | None = None) -> Path:
    """Save a model as a folder; config.json is written last, so a folder that has one is whole."""
    folder = Path(path)
    state = model.state_dict()
    known = {**getattr(model, "facts", {}), **(facts or {}), "weights": digest(state)}
    config = describe(model, known)
    write_atomic(folder / WEIGHTS, pack(state))
    write_atomic(folder / CARD, card(model, config).encode())
    write_atomic(folder / CONFIG, json.dumps(config, indent=2).encode())
    return folder


def open_model(path: str | Path) -> Model:
    """The model that `save` wrote.

    Raises:
        BadStore: If the folder is not a saved model, is truncated, tampered with, or of another
            format.
    """
    folder = Path(path)
    config = read_config(folder)
    chosen = registry.family(config["name"])
    parts = {k: config[k] for k in ("family", "objective", "optimiser")}
    given = config["given_space"]
    model = registry.build(
        config["name"],
        chosen.Config.from_sections(parts),
        Space.model_validate(config["space"]),
        None if given is None else Space.model_validate(given),
    )
    state, _ = unpack(folder / WEIGHTS)
    if digest(state) != config["weights"]:
        raise BadStore(
            "the weights are not those that the config was saved with",
            where=str(folder),
            do="save it again",
        )
    model = model.to(getattr(torch, config["dtype"]))
    load_state(model, state, str(folder))
    model.facts = {k: v for k, v in config.items() if k not in _OWN}
    return model.eval()


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
        found = json.loads(path.read_text(encoding="utf-8"))
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
