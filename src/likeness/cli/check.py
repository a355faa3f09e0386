"""`likeness check`: the contract suite on a family, shipped or your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from likeness.cli import named
from likeness.cli.arguments import complete_family
from likeness.cli.errors import FAILED
from likeness.cli.text import remark, say
from likeness.core.errors import BadConfig

if TYPE_CHECKING:
    from likeness.core.model import Model


def check(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:MODEL",
            help="A class, or a family's name.",
            autocompletion=complete_family,
        ),
    ],
    space: Annotated[
        list[str] | None, typer.Option(help="On this Space only; may be repeated.")
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option(help="Under this condition only; may be repeated.")
    ] = None,
    number: Annotated[
        list[int] | None, typer.Option(help="This check only, 1 to 20; may be repeated.")
    ] = None,
) -> None:
    """Hold a family to the contract.

    Every check on every Space that the family takes.

    likeness check package.module:Model
    """
    model = _model(what)
    from likeness.check.contract import check_model

    _known(space or (), given or (), number or ())
    report = check_model(model, spaces=space, givens=given, numbers=number, watch=_tell)
    say(str(report))
    if not report:
        raise typer.Exit(FAILED)


def _tell(outcome: Any) -> None:
    remark(
        f"{outcome.state}: {outcome.cell}{f' ({outcome.number})' if outcome.number else ''}: {outcome.detail}"
    )


def _model(what: str) -> type[Model]:
    """A family by name, or a class as package.module:Class, looked for in the working directory too."""
    from likeness.cli import options

    if ":" not in what:
        options.known(what)
        from likeness import registry

        return registry.family(what)
    return _checked(named.load(what), what)


def _checked(found: Any, what: str) -> type[Model]:
    from likeness.core.model import Model

    if not (isinstance(found, type) and issubclass(found, Model)):
        raise BadConfig(
            f"{what!r} is no subclass of likeness.core.model.Model", do="write package.module:Class"
        )
    return found


def _known(spaces: Sequence[str], givens: Sequence[str], numbers: Sequence[int]) -> None:
    from likeness.check.contract import checks
    from likeness.check.spaces import GIVENS, SPACES

    for asked, there in (
        (spaces, SPACES),
        (givens, GIVENS),
        (numbers, [c.number for c in checks()]),
    ):
        wrong = next((a for a in asked if a not in there), None)
        if wrong is not None:
            raise BadConfig(
                f"there is no {wrong!r} here", do=f"choose among {', '.join(map(str, there))}"
            )
