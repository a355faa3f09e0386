"""A bar in the terminal while a Run learns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from likeness.learn.executor import Event

if TYPE_CHECKING:
    from likeness.learn.run import Run

EVERY = 10  # steps between changes of the text


@contextmanager
def bar(
    run: Run, title: str, *, show: bool | None = None
) -> Iterator[Callable[[Run, Event], None]]:
    """A bar that follows a Run; nothing is shown where nobody looks."""
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda _run, _event: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task(title, total=run.executor.total, text="")
    last = [""]

    def tick(r: Run, event: Event) -> None:
        if event.validation is not None:
            last[0] = f"held out {event.validation:.4f}"
        if event.iteration % EVERY == 0 or event.validation is not None:
            text = f"loss {event.loss:.4f} {last[0]}"
            progress.update(task, completed=r.iteration, total=r.executor.total, text=text)

    progress.start()
    try:
        yield tick
    finally:
        with suppress(OSError):  # a terminal that has closed
            progress.stop()
