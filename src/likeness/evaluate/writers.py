"""Pictures of draws, what Draws.save writes under .png, and of graphs, what Graph.to_svg draws."""

from __future__ import annotations

from pathlib import Path

from likeness.core.draws import PICTURES, WRITERS, Draws
from likeness.core.plates import DRAWERS, Graph


def register() -> None:
    """Tell the core how draws and graphs become pictures; telling it twice changes nothing."""
    WRITERS[".png"] = _save_png
    PICTURES[:] = [_png]
    DRAWERS[:] = [_svg]


def _png(draws: Draws) -> bytes:
    from likeness.evaluate.figures import picture  # matplotlib is not needed to register

    return picture(draws.space, draws.batch)


def _save_png(draws: Draws, path: Path) -> None:
    from likeness.core.files import write_atomic

    write_atomic(path, _png(draws))


def _svg(graph: Graph) -> str:
    from likeness.evaluate.plates import drawn

    return drawn(graph)
