"""A model and rows to ask it about: opened, read, and told when they do not go together."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likeness.cli.options import parse
from likeness.cli.spaces import flat
from likeness.cli.text import remark
from likeness.core.errors import BadConfig, BadData, BadStore

if TYPE_CHECKING:
    import pandas as pd

    from likeness.core.batch import Batch
    from likeness.core.model import Model
    from likeness.core.space import Space

CONFIG, CHECKPOINT = "config.json", "checkpoint.safetensors"


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that a model can be asked about.

    Args:
        batch: The rows; what they are conditioned on is in `batch.given`, where it is known.
        frame: The table that they were read from, or None where they are no table.
        source: What the user called them.
    """

    batch: Batch
    frame: pd.DataFrame | None
    source: str


def open_model(folder: Path, device: str = "cpu") -> Model:
    """The model in a folder, on its device.

    Raises:
        BadStore: If there is none, with the nearest folder that has one.
    """
    _there(folder)
    import likeness as lk

    return lk.open(folder).to(checked_device(device))


def _there(folder: Path) -> None:
    if (folder / CONFIG).exists():
        return
    if (folder / CHECKPOINT).exists():
        raise BadStore("this fit is not finished", where=str(folder), do="go on with likeness fit ... --resume")
    beside = folder.parent if folder.parent.is_dir() else Path()
    models = [str(path.parent) for path in (*beside.glob(f"*/{CONFIG}"), *Path("runs").glob(f"*/{CONFIG}"))]
    near = difflib.get_close_matches(str(folder), models, n=1) or sorted(set(models))[:1]
    do = f"did you mean {near[0]!r}?" if near else "fit one with likeness fit DATA FAMILY"
    raise BadStore("there is no model here", where=str(folder), do=do)


def checked_device(name: str) -> Any:
    """A torch device that is there.

    Raises:
        BadConfig: If the name means nothing, or the device is absent.
    """
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadConfig(f"there is no device {name!r} here", do="use cpu, or cuda where there is a GPU") from error
    return device


def settings(model: Model, words: Sequence[str] | None) -> Any:
    """How to ask, from NAME=VALUE words.

    Raises:
        BadConfig: For a setting that the model does not know.
    """
    return model.Settings.parse(parse(words or ()))


def read_rows(model: Model, source: str, *, needs_given: bool = True) -> Rows:
    """The rows of a path or of a named set, as the model's Space reads them.

    Where a condition that the answer rests on is not among them, a remark says so.

    Raises:
        BadData: If they cannot be read, or are not of the model's Space.
    """
    from likeness.core.batch import as_batch
    from likeness.data import conll, paths
    from likeness.data.source import inside

    path = Path(source)
    with inside(path) if path.exists() else nullcontext():
        if not path.exists():
            found = _named(model, source)
        elif paths.kind(path) == "table":
            found = _table(model, paths.frame(path), source)
        elif paths.kind(path) == "tags":
            found = _framed(model, conll.of_file(model.space, model.given_space, path), source)
        else:
            found = _framed(model, as_batch(model.space, path), source)
    if not len(found.batch):
        raise BadData("there are no rows", where=source)
    if needs_given and model.given_space is not None and found.batch.given is None:
        remark(f"note: {', '.join(model.given_space.names or ('what was given',))} not found in {source}: summed out")
    return found


def _table(model: Model, frame: pd.DataFrame, source: str) -> Rows:
    from likeness.core.batch import as_batch

    frame = frame.rename(columns=str)
    batch = as_batch(model.space, _only(frame, model.space))
    names = () if model.given_space is None else model.given_space.names or ()
    if model.given_space is not None and names and set(names) <= set(frame.columns):
        batch = replace(batch, given=as_batch(model.given_space, frame[list(names)]))
    return Rows(batch, frame, source)


def _framed(model: Model, batch: Batch, source: str) -> Rows:
    """Rows that are no table, as one where they are vectors."""
    from likeness.data.frames import to_frame

    return Rows(batch, to_frame(model.space, batch) if flat(model.space) else None, source)


def _only(frame: pd.DataFrame, space: Space) -> Any:
    """The frame itself where columns have names; its numbers where an array was learned."""
    array = space.names is None and len(frame.columns) == space.width
    return frame.to_numpy() if array and all(map(_numeric, frame.dtypes)) else frame


def _numeric(dtype: Any) -> bool:
    return dtype.kind in "iufb"


def _named(model: Model, source: str) -> Rows:
    """The test rows of a set with an official split, all rows of another."""
    from likeness.data.load import load

    names = list(model.given_space.names or ()) if model.given_space is not None else []
    data = load(source, given=(names if len(names) > 1 else names[0]) if names else None, test=0.0)
    why = model.space.fits(data.space)
    if why is not None:
        raise BadData(why, where=source, do="ask about data like those that were learned")
    part = data.test if len(data.test) else data.train
    return _framed(model, part.batch, source)


def labels_of(space: Space) -> tuple[str, ...]:
    """What the classes of a label Space are called."""
    variable = space.variables[0]
    assert variable.type == "nominal"
    return variable.labels or tuple(str(k) for k in range(variable.categories))
