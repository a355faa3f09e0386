"""What a checkpoint holds, and how a Run goes on from one, or from the model that it ended in."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from likeness.core.errors import BadStore
from likeness.core.model import Model
from likeness.learn.executor import Executor, Task
from likeness.learn.place import Place
from likeness.registry import reading, stored

OTHER = {"family": "another family", "options": "other options", "budget": "another budget"}


@dataclass
class Best:
    """The best validation so far and the state that reached it."""

    value: float = math.inf
    iteration: int = 0
    since: int = 0
    state: dict[str, Tensor] | None = None


class Learning(Protocol):
    """What a Run is made of, as far as a checkpoint holds it."""

    model: Model
    seed: int
    task: Task
    executor: Executor
    best: Best

    def begin(self) -> None:
        """Carry out the learner from its first step."""


def of(run: Learning) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that a later process needs to go on with the same bits: tensors, and facts as JSON keeps them."""
    tensors, facts = run.executor.state()
    kept = {f"model.{k}": v for k, v in run.model.state_dict().items()}
    kept |= {f"executor.{k}": v for k, v in tensors.items()}
    kept |= {f"best.{k}": v for k, v in (run.best.state or {}).items()}
    meta = {
        "executor": facts,
        "best": _best_facts(run.best),
        "decisions": run.task.decisions,
        "seed": run.seed,
        "budget": str(run.task.budget),
        "counted": run.task.budget.kind,
        "data": hash_of(run.task.source),
        "model": type(run.model).__name__,
        "options": _options(run),
    }
    return kept, meta


def _best_facts(best: Best) -> dict[str, Any]:
    return {
        "value": best.value if best.state else None,
        "iteration": best.iteration,
        "since": best.since,
    }


def resume(run: Learning, place: Place) -> None:
    """Go on from the checkpoint.

    Raises:
        BadStore: If it is truncated, or of another fit.
    """
    tensors, facts = place.kept()
    kept = stored.checkpoint(facts, place.folder)
    mine = {
        "family": type(run.model).__name__,
        "options": _options(run),
        "budget": run.task.budget.kind,
    }
    theirs = {
        "family": kept.model,
        "options": kept.options,
        "budget": kept.counted,
    }
    _refuse_others(run, place.folder, (kept.data, kept.seed), mine, theirs)
    reading.load_state(run.model, _under(tensors, "model."), str(place.folder))
    run.task.decisions.clear()
    run.task.decisions.update(kept.decisions)
    run.begin()
    try:
        run.executor.load(_under(tensors, "executor."), kept.executor)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise BadStore(
            "the checkpoint is not of this fit", where=str(place.folder), do="begin it anew"
        ) from error
    run.best = Best()
    # Copies, since a file that is mapped into memory could not be replaced everywhere.
    state = {k: v.clone() for k, v in _under(tensors, "best.").items()}
    best = kept.best
    if state and best.value is not None:
        run.best = Best(best.value, best.iteration, best.since, state)


def reopen(run: Learning, place: Place) -> None:
    """Take the finished model of this very fit, which needs no more steps.

    Raises:
        BadStore: If it is of another fit.
    """
    config = reading.read_config(place.folder)
    mine = {
        "family": type(run.model).__name__,
        "options": _options(run),
        "budget": str(run.task.budget),
    }
    sections = {k: config[k] for k in mine["options"]}
    model = reading.open_model(place.folder)
    theirs = {
        "family": type(model).__name__,
        "options": sections,
        "budget": config.get("budget"),
    }
    source = (config.get("data", {}).get("hash", ""), config.get("seed", run.seed))
    _refuse_others(run, place.folder, source, mine, theirs)
    reading.load_state(run.model, model.state_dict(), str(place.folder))
    run.model.facts = model.facts
    run.model.source = None
    run.executor.iteration = int(config.get("iterations", 0))
    run.executor.done = True
    what = f"the fit in {place.folder} is finished: its model is returned as it is"
    warnings.warn(what, stacklevel=5)


def hash_of(data: Any) -> str:
    """What tells data from other data; "" where they do not say."""
    if hasattr(data, "hash"):
        return data.hash()
    return ""


def _options(run: Learning) -> Any:
    """The model's options, as JSON keeps them."""
    return json.loads(json.dumps(run.model.config.sections()))


def _refuse_others(
    run: Learning,
    folder: Path,
    source: tuple[str, int],
    mine: dict[str, Any],
    theirs: dict[str, Any],
) -> None:
    """What is in the folder must be this very fit.

    Raises:
        BadStore: Saying what of it is not.
    """
    same = source == (hash_of(run.task.source), run.seed)
    unlike = [OTHER[name] for name in mine if mine[name] != theirs[name]]
    if same and not unlike:
        return
    what = unlike[0] if same else "other data or another seed"
    raise BadStore(
        f"the fit in this folder is of {what}",
        where=str(folder),
        do="ask for what it was begun with, or choose another folder",
    )


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
