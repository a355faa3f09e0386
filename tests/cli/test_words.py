"""What users are shown is true: every command of the README and the help can be typed, and errors speak shell."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from likeness.cli import VERBS, app, errors
from likeness.registry.index import read

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
COMMAND = typer.main.get_command(app)


def lines(text: str) -> list[str]:
    found = [line.strip().partition("  #")[0] for line in text.splitlines()]
    return [line for line in found if line.startswith("likeness ") and "--help" not in line]


def examples() -> list[str]:
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", README, flags=re.S))
    return lines(shell) + [line for verb in VERBS for line in lines(verb.__doc__ or "")]


@pytest.mark.parametrize("line", examples())
def test_a_command_that_is_shown_can_be_typed(line):
    verb, *words = shlex.split(line)[1:]
    context = COMMAND.commands[verb].make_context(verb, words)
    assert context.command.name == verb


def test_there_are_examples():
    assert len(examples()) >= 15
    assert {shlex.split(line)[1] for line in examples()} >= {
        verb.__name__.replace("_", "-") for verb in VERBS
    }


def test_the_readme_names_every_family_and_no_other():
    table = README[README.index("| family |") : README.index("A family of your own")]
    first = [row.split("|")[1] for row in table.splitlines()[2:] if row.startswith("|")]
    named = set(re.findall(r"`(\w+)`", " ".join(first)))
    assert named == set(read())


@pytest.mark.parametrize(
    ("said", "spoken"),
    [
        ("leave it out: columns={'my age': 'skip'}", "leave it out: --columns 'my age=skip'"),
        ("fit again with lk.fit(..., given=...)", "fit again with likeness fit ... --given COLUMN"),
        ("fit with holdout=0.1", "fit with --holdout 0.1"),
        ("raise settings particles=...", "raise --settings particles=..."),
        ("one\n  line", "one line"),
    ],
)
def test_errors_speak_the_shells_words(said, spoken):
    assert errors.spoken(said) == spoken
