"""Pages that the code says itself: the command line, a page for each family, a page for each package."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import typer

from likeness.cli import app as command_line
from likeness.registry.index import read as families

DOCS = Path(__file__).parents[1]
REFERENCE = DOCS / "reference"
SOURCE = DOCS.parent / "src" / "likeness"
# Packages whose modules are read as an API, with what one finds there; others are the product's inner rooms
PACKAGES = {
    "core": "Spaces, batches, noise, answers, distributions, models, learners",
    "bijections": "Invertible maps and preprocessors",
    "heads": "One distribution for each type of variable",
    "nets": "Maps from tensors to tensors",
    "dynamics": "Paths between data and noise, denoisers, solvers",
    "inference": "Exact inference: mixtures, chains, state spaces, graphs, topics",
    "numerics": "Functions of tensors that know nothing of the rest",
    "learn": "Runs, budgets, learners",
    "routes": "Ways of answering one verb from others",
    "metrics": "Distances, tests, calibration",
    "evaluate": "Comparisons and reports",
    "data": "Readers, named sets, synthetic data",
    "registry": "Families by name, saved models",
    "check": "The contract that every family keeps",
}
# Modules that the page on Python shows whole
SHOWN = {
    "core.answers",
    "core.batch",
    "core.distribution",
    "core.draws",
    "core.errors",
    "core.row_distribution",
    "core.space",
    "core.variables",
    "learn.run",
}
GROUPS = {
    "classical": "Classical",
    "autoregressive": "Autoregressive",
    "latent": "Latent variables",
    "implicit": "Implicit",
}
SECTIONS = {
    "family": "The model",
    "objective": "What is minimised",
    "optimiser": "How it is learned",
}


def write(path: Path, text: str) -> None:
    """Write a page where it differs, so that unchanged pages are not read again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def cell(text: Any) -> str:
    """A value as a cell of a table."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# ---- the command line ----------------------------------------------------------------------------


def cli_page() -> str:
    """Every command with its arguments and options."""
    group = typer.main.get_command(command_line)
    parts = ["# Command line\n", f"{group.help}\n", "`likeness COMMAND -h` prints the same.\n"]
    parts += [command(name, found) for name, found in group.commands.items()]
    return "\n".join(parts)


def command(name: str, found: Any) -> str:
    """One command: its words, an example, its arguments and options."""
    words = [re.sub(r"\s+", " ", p).strip() for p in (found.help or "").split("\n\n")]
    prose = [f"```sh\n{p}\n```" if p.startswith("likeness ") else p for p in words]
    rows = [parameter(p) for p in found.params if getattr(p, "help", None)]
    return "\n\n".join([f"## likeness {name}", *prose, table(("parameter", "meaning"), rows)])


def parameter(p: Any) -> tuple[str, str]:
    """An argument or option with its meaning and its default."""
    if p.opts[0].startswith("-"):
        names = ", ".join(f"`{name}`" for name in p.opts)
    else:
        names = f"`{p.metavar or p.name.upper()}`"
    shown = p.default is not None and p.default is not False and not callable(p.default)
    default = f" (default: `{p.default}`)" if shown and p.default not in ([], (), "") else ""
    return names, f"{p.help}{default}"


# ---- families ------------------------------------------------------------------------------------


def kinds() -> dict[str, str]:
    """The part of the table of what takes what for each family."""
    page = (DOCS / "table.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (\w+)$", page, flags=re.M)[1:]
    return dict(zip(parts[::2], (p.strip() for p in parts[1::2]), strict=True))


def family_page(name: str, entry: dict[str, Any], takes: dict[str, str]) -> str:
    """A family: what it is for, its options, what it takes, its class."""
    card = entry["card"]
    module = importlib.import_module(entry["module"])
    model = next(
        c
        for c in vars(module).values()
        if inspect.isclass(c) and c.__module__ == module.__name__ and hasattr(c, "learner")
    )
    parts = [
        f"# {name}: {card['title']}\n",
        f"{card['summary']} ({card['reference']}, {card['year']})\n",
        f"```sh\nlikeness fit data.csv {name}\n```\n",
        "## Options\n",
    ]
    for section, title in SECTIONS.items():
        rows = [
            (f"`{o['name']}`", f"`{o['default']}`", kind_of(o["type"]), o["meaning"])
            for o in entry["options"]
            if o["section"] == section
        ]
        if rows:
            parts.append(f"### {title}\n")
            parts.append(table(("option", "default", "type", "meaning"), rows))
    if name in takes:
        parts.append("## What it takes\n")
        parts.append(
            "The kind of `log_prob` for each Space (see [](../../table.md)) and condition.\n"
        )
        parts.append(takes[name] + "\n")
    parts.append("## Class\n")
    parts.append(autodoc("class", f"{module.__name__}.{model.__name__}", "no-members"))
    return "\n".join(parts)


def kind_of(written: str) -> str:
    """A type as users write it."""
    return re.sub(
        r"Literal\[(.*)\]", lambda m: m[1].replace("'", "").replace(", ", " or "), written
    )


def families_page(entries: dict[str, Any]) -> str:
    """All families by group, and the pages of each."""
    parts = [
        "# Families\n",
        "`likeness families` prints this list, `likeness families NAME` the options.\n",
    ]
    for group, title in GROUPS.items():
        rows = [
            (f"[{name}]({name}.md)", entry["card"]["title"], entry["card"]["summary"])
            for name, entry in entries.items()
            if entry["card"]["group"] == group
        ]
        parts += [f"## {title}\n", table(("family", "what it is", "good for"), rows)]
    parts.append("```{toctree}\n:hidden:\n\n" + "\n".join(entries) + "\n```\n")
    return "\n".join(parts)


# ---- packages ------------------------------------------------------------------------------------


def autodoc(what: str, name: str, *options: str) -> str:
    """A directive of autodoc inside Markdown."""
    said = "".join(f"   :{option}:\n" for option in options)
    return f"```{{eval-rst}}\n.. auto{what}:: {name}\n{said}```\n"


def package_page(package: str, summary: str) -> str:
    """Every module of a package, by autodoc."""
    parts = [f"# likeness.{package}\n", f"{summary}.\n"]
    for path in sorted((SOURCE / package).rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        if path.stem != "__init__" and name not in SHOWN and public(path):
            parts += [f"## {name}\n", autodoc("module", f"likeness.{name}")]
    return "\n".join(parts)


def public(path: Path) -> bool:
    """Whether a module defines anything for others."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    defined = [n for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    return any(not n.name.startswith("_") for n in defined)


def generate(app: Any) -> None:
    """Write all pages that the code says itself."""
    entries = families()
    takes = kinds()
    write(REFERENCE / "cli.md", cli_page())
    for name, entry in entries.items():
        write(REFERENCE / "families" / f"{name}.md", family_page(name, entry, takes))
    write(REFERENCE / "families" / "index.md", families_page(entries))
    for package, summary in PACKAGES.items():
        write(REFERENCE / "packages" / f"{package}.md", package_page(package, summary))


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before any is read."""
    app.connect("builder-inited", generate, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
