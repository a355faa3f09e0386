"""`likeness compare`: families side by side under one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from likeness.cli import named, options, output
from likeness.cli.arguments import Device, MaxMemory, Series, SettingsWords, Words
from likeness.cli.errors import spoken
from likeness.cli.text import remark, say
from likeness.core.errors import BadConfig


def compare(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A table, an array, a folder of images, or a named set."
        ),
    ],
    family_options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FAMILY.NAME=VALUE]...", help="Options of a family, such as flow.layers=6."
        ),
    ] = None,
    families: Annotated[
        str, typer.Option(help="Names between commas; all that take the data unless told.")
    ] = "",
    budget: Annotated[str, typer.Option(help="Of every fit: 1m, '500 steps', '10 epochs'.")] = "1m",
    seeds: Annotated[
        int, typer.Option(min=1, help="How many seeds each family is fitted with.")
    ] = 3,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The report (.html); its numbers go beside it as .json."),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="A column to condition on; may be repeated."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TYPE", help="A column's type, as in `likeness fit`."),
    ] = None,
    holdout: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of rows for choices while learning.")
    ] = 0.1,
    series: Series = None,
    words: Words = None,
    settings: SettingsWords = None,
    max_memory: MaxMemory = None,
    device: Device = "cpu",
) -> None:
    """Compare families under one protocol.

    The same split, seeds and budget for all, and the same scores: with baselines, intervals and
        failures.

    likeness compare digits --families vae,flow --budget 1m --out report.html
    """
    output.check(out, (".html",))
    entrants = _entrants(families, family_options or [])
    types = options.pairs(columns, "--columns")
    how = {"device": device, **options.parse(settings or [])}
    import rich

    import likeness as lk
    from likeness.cli.fit import wanted
    from likeness.cli.rows import condition_of, keyed
    from likeness.core.devices import device_of

    condition = condition_of(given or ())
    device_of(device)
    for name, chosen in entrants:
        options.config(name, chosen).bring(named.load)
    read = lk.load(data, given=condition, columns=wanted(types), series=keyed(series), words=words)
    say(str(read))
    if not families:
        entrants = _fitting(entrants, read)
    found = lk.compare(
        read, entrants, budget=budget, seeds=seeds, holdout=holdout, progress=remark, options=how
    )
    rich.print(found.table())
    for sentence in found.sentences:
        say(spoken(sentence))
    if out is not None:
        found.save(out)
        say(f"report: {out}, numbers: {out.with_suffix('.json')}")


def _fitting(
    entrants: list[tuple[str, dict[str, Any]]], data: Any
) -> list[tuple[str, dict[str, Any]]]:
    """Those that take the data; of the others it says why they stay away, for nobody asked for them by name."""
    from likeness import registry

    kept = []
    for name, chosen in entrants:
        family = registry.family(name)
        answer = family.accepts(
            family.Config.parse(chosen), data.train.space, data.train.given_space
        )
        if answer:
            kept.append((name, chosen))
        else:
            say(f"{name} stays away: {answer.why}")
    return kept


def _entrants(families: str, words: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Families with their options, checked by name before anything is read.

    Raises:
        BadConfig: For an unknown family or option, or options of a family that does not take part.
    """
    from likeness.registry.index import read

    names = [n.strip() for n in families.split(",") if n.strip()] or list(read())
    below: dict[str, list[str]] = {name: [] for name in names}
    for word in words:
        family, _, rest = word.partition(".")
        if not rest or family not in below:
            raise BadConfig(
                f"{word!r} is no option of a family that takes part",
                do=f"write {names[0]}.NAME=VALUE",
            )
        below[family].append(rest)
    return [options.checked(name, own) for name, own in below.items()]
