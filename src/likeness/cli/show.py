"""`likeness show`: the card of a saved model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from likeness.cli import output, rows
from likeness.cli.arguments import Model
from likeness.cli.errors import spoken
from likeness.cli.fitted import words
from likeness.cli.text import say, table
from likeness.core.files import whole
from likeness.core.words import copies_in_words, plural

if TYPE_CHECKING:
    from likeness.core.model import Model as Fitted
    from likeness.core.plates import Graph

VERBS = (
    *("sample", "log_prob", "complete", "forecast", "mode", "encode", "decode"),
    *("classify", "anomaly_score", "anomaly_map", "p_value"),
)


SHOWN = 6  # variables named


def show(
    model: Model,
    graph: Annotated[
        Path | None,
        typer.Option(help="Where to draw its variables and what depends on what, as .svg."),
    ] = None,
) -> None:
    """Print what a saved model is and can answer.

    likeness show runs/flow --graph flow.svg
    """
    from likeness import registry

    output.check(graph, (".svg",))
    fitted = rows.open_model(model)
    card = registry.CARDS[registry.name_of(fitted.config)]
    drawn = fitted.graph()
    if graph is not None:  # before any words: whoever reads but the first has the picture
        with whole(graph) as partial:
            partial.write_text(drawn.to_svg(), encoding="utf-8")
    say(f"{card.name}: {card.title} ({card.reference}, {card.year})")
    say(card.summary)
    say(f"\nover {fitted.space.item}, log p against {fitted.measure}")
    table(list(fitted.space.column_words.items()))
    if fitted.given_space is not None:
        say(f"given {fitted.given_space.item}")
        table(list(fitted.given_space.column_words.items()))
    say("\nvariables")
    table(_variables(drawn))
    say("\nlearned from")
    table(_learned(fitted, fitted.facts))
    say("\noptions")
    table(_options(fitted))
    say("\nquestions")
    table(_questions(fitted))
    if graph is not None:
        say(f"\ndrawn in {graph}")


def _variables(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """Those that are alike together: names, whether they are seen, and what their values are."""
    from likeness.core.plates import values

    alike: dict[tuple[str, str], list[str]] = {}
    for node in graph.of("observed", "given", "latent"):
        said = ", ".join(words for words in (node.note, values(node)) if words)
        alike.setdefault((node.kind, said), []).append(node.key)
    for (kind, said), names in alike.items():
        more = [f"... ({len(names)})"] if len(names) > SHOWN else []
        yield ", ".join(names[:SHOWN] + more), kind, said


def _learned(model: Fitted, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    data = facts.get("data", {})
    if data:
        yield "data", f"{data['name']}: {plural(data['rows'], 'row')}, hash {data['hash']}"
    for note in facts.get("notes", ()):
        yield "note", spoken(note)
    if "iterations" in facts:
        yield (
            "budget",
            f"{facts['budget']}: {plural(facts['iterations'], 'step')}, seed {facts['seed']}",
        )
    if model.count():
        yield "parameters", f"{model.count():,}"
    if facts.get("score"):
        yield "score", words(facts["score"])
    for remark in facts.get("remarks", ()):
        yield "remark", remark
    if facts.get("copies"):
        yield "copies", copies_in_words(facts["copies"]).removeprefix("copies: ")
    for name, decided in facts.get("decisions", {}).items():
        yield f"decided: {name}", decided if isinstance(decided, str) else json.dumps(decided)


def _options(model: Fitted) -> Iterator[tuple[str, str]]:
    """Options as they were set, those that differ from the default marked."""
    default = {name: info.default for name, info in type(model.config).model_fields.items()}
    for section in model.config.sections().values():
        for name, value in section.items():
            if getattr(model.config, name) == default[name]:
                told = ""
            else:
                told = "   (set)"
            yield name, f"{json.dumps(value).strip(chr(34))}{told}"


def _questions(model: Fitted) -> Iterator[tuple[str, str]]:
    for verb in VERBS:
        answer = model.support(verb)
        own = [""] * (
            len(answer.routes) - len(answer.kinds)
        )  # a hook's kind depends on what is asked
        kinds = [
            *own,
            *(f" (at best {kind})" for kind in answer.kinds),
        ]  # by rows, and by the log p that it rests on
        ways = (f"{route}{kind}" for route, kind in zip(answer.routes, kinds, strict=True))
        yield verb, "; ".join(ways) if answer else f"no: {spoken(answer.why)}"
