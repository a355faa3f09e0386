"""Where a fit is kept: nothing that was learned before is lost unless it is asked for."""

from __future__ import annotations

from pathlib import Path

from likeness.cli.rows import CHECKPOINT, CONFIG
from likeness.core.errors import BadConfig

HOME = Path("runs")


def place(out: Path | None, data: str, family: str, *, resume: bool, overwrite: bool) -> Path:
    """The folder of a fit: the one that was asked for, else runs/DATA-FAMILY with a number where that is taken.

    Raises:
        BadConfig: If a model or an unfinished fit would be lost, or there is nothing to resume.
    """
    if resume:
        return _unfinished(out, data, family)
    chosen = out or _free(data, family)
    if chosen.exists() and not chosen.is_dir():
        raise BadConfig(
            "this is a file, not a folder", where=str(chosen), do="choose another --out"
        )
    if not overwrite and (chosen / CHECKPOINT).exists():
        raise BadConfig(
            "an unfinished fit is here",
            where=str(chosen),
            do="go on with --resume, or start again with --overwrite",
        )
    if not overwrite and (chosen / CONFIG).exists():
        raise BadConfig(
            "a model is here already",
            where=str(chosen),
            do="choose another --out, or add --overwrite",
        )
    return chosen


def _stem(data: str, family: str) -> str:
    return f"{Path(data).name.split('.')[0] or 'data'}-{family}"


def _free(data: str, family: str) -> Path:
    stem = _stem(data, family)
    k = 1
    while (path := HOME / (stem if k == 1 else f"{stem}-{k}")).exists():
        k += 1
    return path


def _unfinished(out: Path | None, data: str, family: str) -> Path:
    if out is None:
        held = sorted(
            HOME.glob(f"{_stem(data, family)}*/{CHECKPOINT}"), key=lambda path: path.stat().st_mtime
        )
        if not held:
            raise BadConfig(
                "there is no unfinished fit of these data and this family",
                where=str(HOME),
                do="name it with --out",
            )
        return held[-1].parent
    if not (out / CHECKPOINT).exists():
        finished = (out / CONFIG).exists()
        if finished:
            what = "this fit is finished: there is nothing to resume"
        else:
            what = "there is no fit to resume here"
        if finished:
            do = "fit another in its place with --overwrite"
        else:
            do = "leave --resume out"
        raise BadConfig(what, where=str(out), do=do)
    return out
