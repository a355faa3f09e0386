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
from torch import Tensor

from likeness import registry
from likeness.core.errors import LikenessError
from likeness.core.files import sweep, write_atomic
from likeness.core.lock import claim
from likeness.core.model import WRITERS, Model
from likeness.core.plain import plain
from likeness.core.words import copies_in_words
from likeness.registry.stored import FORMAT

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "card.md"
STAGED = ".staged"
COMMIT = 16  # digits of config.json's digest that staged files are named by


def pack(tensors: dict[str, Tensor], facts: dict[str, Any] | None = None) -> bytes:
    """Tensors and JSON facts as one safetensors file; tensors that share storage are stored apart."""
    # The digest of the tensors goes into the head, so that a changed file is noticed.
    meta = {"facts": json.dumps(facts or {}), "sha256": digest(tensors)}
    own = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    return safetensors.torch.save(own, metadata=meta)


def digest(tensors: dict[str, Tensor]) -> str:
    """A hash of names, types, shapes and bits."""
    # Names in a fixed order; bits and not values, so that NaN and -0 count.
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
    config["digest"] = config_digest(config)
    return config


def config_digest(config: dict[str, Any]) -> str:
    """A hash of all that config.json says beside it."""
    rest = {k: v for k, v in config.items() if k != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


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
    # The config names the weights by their digest.
    state = model.state_dict()
    card_facts = {**getattr(model, "facts", {}), **(facts or {}), "weights": digest(state)}
    config = describe(model, card_facts)
    contents = {WEIGHTS: pack(state), CARD: card(model, config).encode(), **(beside or {})}
    # Staged files first, then config.json in one move: this is the commit.
    with claim(folder):
        settle(folder)
        try:
            for name, data in contents.items():
                write_atomic(staged(folder / name, config), data)
            write_atomic(folder / CONFIG, json.dumps(config, indent=2).encode())
        except LikenessError as error:
            what = error.what.replace("nothing was written", "the model was not saved")
            raise LikenessError(what, where=str(folder), do=error.do) from error
        finally:
            settle(folder)
    return folder


WRITERS.append(save)


def staged(path: Path, config: Mapping[str, Any]) -> Path:
    """What a file is called until it may take its name."""
    return path.with_name(f".{path.name}.{config['digest'][:COMMIT]}{STAGED}")


def settle(folder: Path) -> None:
    """Give the files of the model that is saved their names, and remove those of saves that failed or were killed.

    The folder must be claimed. What is in use stays as it is until the next time.
    """
    # Staged files whose name carries the saved config's digest belong to it; others are left-overs.
    sweep(folder)
    commit = _commit(folder)
    for waiting in folder.glob(f".*{STAGED}"):
        name, _, own = waiting.name.removesuffix(STAGED)[1:].rpartition(".")
        with suppress(OSError):
            if own == commit:
                waiting.replace(folder / name)
            else:
                waiting.unlink()


def _commit(folder: Path) -> str | None:
    """What the files of the model that is saved are named by while they are staged; None where there is no model."""
    try:
        return str(json.loads((folder / CONFIG).read_bytes())["digest"])[:COMMIT]
    except (OSError, ValueError, TypeError, KeyError):
        return None


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
    return plain("\n".join(lines) + "\n")
