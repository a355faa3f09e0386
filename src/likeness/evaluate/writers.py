"""Pictures of draws: what Draws.save writes under .png."""

from __future__ import annotations

from pathlib import Path

from likeness.core.answers import WRITERS, Draws


def register() -> None:
    """Tell the core how draws become pictures; telling it twice changes nothing."""
    WRITERS[".png"] = _png


def _png(draws: Draws, path: Path) -> None:
    from likeness.core.store import write_atomic
    from likeness.evaluate.figures import picture  # matplotlib is not needed to register

    write_atomic(path, picture(draws.space, draws.batch))
