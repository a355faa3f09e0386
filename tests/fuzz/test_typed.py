"""What a user types: options of any family, budgets, Spaces, questions: taken, or refused in a sentence."""

import json
import random
from typing import Any, get_args

import pytest
import torch

import likeness as lk
from likeness.check.spaces import GIVENS, SPACES
from likeness.cli import options
from likeness.core.batch import Batch
from likeness.core.config import Settings
from likeness.core.space import Nominal, Real, Space, binary, vector
from likeness.data.source import Table
from likeness.learn.budget import Budget
from likeness.learn.run import Run
from likeness.query import Want, query
from likeness.registry import build, family
from likeness.registry.index import read
from tests.fuzz import inputs
from tests.fuzz.harness import fuzz, runs

# ---- options -----------------------------------------------------------------------------------------

ROWS = {name: [row["name"] for row in entry["options"]] for name, entry in sorted(read().items())}
TYPED = ("1", "0", "-1", "1e9", "none", "true", "64,64", "(1,)", "[1", "{}", '{"family":"flow"}')
WORDS = ("flow", "vae", "full", "mlp", "auto", "diagonal", "9" * 400, "[" * 9999, "1_0", "\u0663")


def typed(rng: random.Random) -> str:
    """A value as somebody might type it."""
    kind = rng.random()
    if kind < 0.7:
        return rng.choice(TYPED + WORDS)
    if kind < 0.85:
        return inputs.text(rng)
    return json.dumps(inputs.value(rng))


def option(rng: random.Random, chosen: str) -> str:
    """A word such as layers=6 or prior.layers=6, now and then none at all."""
    kind = rng.random()
    if kind < 0.05:
        return inputs.text(rng)
    name = rng.choice(ROWS[chosen]) if kind < 0.9 else inputs.text(rng)
    if rng.random() < 0.2:
        name = f"{name}.{rng.choice(ROWS[rng.choice(list(ROWS))])}"
    return f"{name}={typed(rng)}"


def command(rng: random.Random) -> tuple[str, list[str]]:
    chosen = rng.choice(list(ROWS)) if rng.random() < 0.97 else inputs.text(rng)
    named = chosen if chosen in ROWS else "flow"
    return chosen, [option(rng, named) for _ in range(rng.randrange(4))]


@runs()
def test_any_options_on_the_command_line_are_taken_or_refused(n):
    def read_options(words: tuple[str, list[str]]) -> None:
        chosen, given = options.checked(*words)
        options.config(chosen, given).sections()

    fuzz(read_options, command, n)


def python_options(rng: random.Random) -> tuple[str, dict[str, Any]]:
    chosen = rng.choice(list(ROWS))
    default = {row["name"]: row["default"] for row in read()[chosen]["options"]}
    some = rng.sample(list(default), min(len(default), rng.randrange(4)))
    return chosen, {name: inputs.changed(rng, default[name]) for name in some}


@runs()
def test_any_options_in_python_are_taken_or_refused(n):
    def make(words: tuple[str, dict[str, Any]]) -> None:
        chosen = family(words[0])
        config = chosen.Config.parse(words[1])
        assert chosen.Config.from_sections(config.sections()) == config or "nan" in repr(config)

    fuzz(make, python_options, n)


# ---- budgets -----------------------------------------------------------------------------------------

UNITS = ("", "s", "m", "h", " steps", " step", " epochs", "epoch", " S", "%", "\n")
AMOUNTS = (
    "0",
    "1",
    "2.5",
    "500",
    "1.",
    ".5",
    "1e3",
    "-1",
    "9" * 30,
    "9" * 400,
    "9" * 5000,
    "\u0663",
)


def budget(rng: random.Random) -> Any:
    kind = rng.random()
    if kind < 0.7:
        return rng.choice(("", " ")) + rng.choice(AMOUNTS) + rng.choice(UNITS)
    if kind < 0.85:
        return inputs.text(rng)
    return inputs.value(rng, depth=1)


@runs()
def test_any_budget_is_taken_or_refused(n):
    def parse(said: Any) -> None:
        found = Budget.parse(said)
        assert found.kind
        found.total(100, 7)
        found.share(0.3).total(100, 7)
        assert Budget.parse(str(found)).kind == found.kind

    fuzz(parse, budget, n)


# ---- Spaces ------------------------------------------------------------------------------------------


def good_spaces() -> list[Any]:
    made = [make() for make in (*SPACES.values(), *GIVENS.values())]
    return [json.loads(space.to_json()) for space in made if space is not None]


@runs()
def test_any_space_is_taken_or_refused(n):
    good = good_spaces()

    def make(rng: random.Random) -> str:
        said = rng.choice(good)
        for _ in range(rng.randrange(1, 4)):
            said = inputs.changed(rng, said)
        text = json.dumps(said)
        if rng.random() < 0.2:
            return inputs.mangled(rng, text.encode()).decode("utf-8", "replace")
        return text

    def read_space(text: str) -> None:
        space = Space.from_json(text)
        assert Space.from_json(space.to_json()) == space
        assert space.measure
        assert space.dims >= 0
        space.fits(vector(2))

    fuzz(read_space, make, n)


# ---- questions ---------------------------------------------------------------------------------------

NAMES = ("size", "town", "flag", "size", "town", "flag", "given", "no", "", "\x1b", "size ")
VALUES = (1.5, 0, -1, 2, "Bern", "Basel", "yes", True, None, float("nan"), 1e300, 10**30, [1, 2])


@pytest.fixture(scope="module")
def model() -> Any:
    lk.open  # noqa: B018 - registers what questions look up
    variables = (Real(), Nominal(categories=2, labels=("Bern", "Basel")), binary())
    space = vector(3, variables, names=("size", "town", "flag"))
    given = vector(1, Nominal(categories=2, labels=("a", "b")), names=("given",))
    made = build("mixture", {"components": 2}, space, given)
    rows = torch.tensor([[0.1, 0, 1], [1.2, 1, 0], [2.0, 0, 1], [0.4, 1, 0]] * 5)
    told = Batch(torch.tensor([[0.0], [1.0]] * 10))
    source = Table(space, Batch(rows, given=told), given)
    return Run(made, source, 2, 0).fit()


def value(rng: random.Random) -> Any:
    return rng.choice(VALUES) if rng.random() < 0.9 else inputs.value(rng, depth=1)


def named(rng: random.Random) -> Any:
    """What is known: columns by name, now and then something else."""
    kind = rng.random()
    if kind < 0.2:
        return None
    if kind < 0.9:
        return {rng.choice(NAMES): value(rng) for _ in range(rng.randrange(4))}
    return value(rng)


def question(rng: random.Random) -> dict[str, Any]:
    known = get_args(Want)
    asked = {
        "want": rng.choice(known) if rng.random() < 0.97 else inputs.text(rng),
        "given": named(rng) if rng.random() < 0.5 else None,
        "evidence": named(rng),
        "missing": rng.choice((None, None, "town", ("flag",), [inputs.text(rng)], value(rng))),
        "n": 1 if rng.random() < 0.9 else value(rng),
        "seed": 0 if rng.random() < 0.9 else value(rng),
        "effort": 2 if rng.random() < 0.9 else value(rng),
    }
    if rng.random() < 0.1:
        asked["settings"] = rng.choice((None, {"rows": 3}, {"rows": value(rng)}, value(rng)))
    return asked


@pytest.mark.filterwarnings("ignore::UserWarning")
@runs(few=150)
def test_any_question_is_answered_or_refused(model, n):
    fuzz(lambda asked: query(model, **asked), question, n)


@runs()
def test_any_settings_are_taken_or_refused(n):
    def make(rng: random.Random) -> dict[str, Any]:
        names = [*Settings.model_fields, "stric"]
        return {rng.choice(names): inputs.value(rng) for _ in range(rng.randrange(4))}

    fuzz(Settings.parse, make, n)
