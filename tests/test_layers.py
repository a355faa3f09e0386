"""Imports go one way: a layer of `src/likeness` imports only layers named before it, type-checking imports included."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "likeness"
LAYERS = (
    *(
        "numerics",
        "core",
        "registry",
        "data",
        "metrics",
        "nets",
        "heads",
        "inference",
        "bijections",
    ),
    *(
        "dynamics",
        "learn",
        "routes",
        "families",
        "query",
        "check",
        "evaluate",
        "api",
        "adapters",
        "cli",
        "studio",
    ),
)
FACES = (
    "cli",
    "studio",
)  # they may use the package's own face, which stands above every other layer
EXEMPT = ("__init__.py", "__main__.py")


def package_of(path: Path, source: Path) -> tuple[str, ...]:
    """The package that relative imports in `path` start from."""
    return ("likeness", *path.relative_to(source).parent.parts)


def imports(path: Path, source: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and dotted parts of all that a file imports of this package, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path, source)
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            names = [(*base, alias.name) for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name[0] == "likeness")


def fault(home: tuple[str, ...], target: tuple[str, ...]) -> str | None:
    """Why a module at `home` may not import `target`, both as parts below the package; None where it may."""
    layer, wanted = home[0], target[0] if target else ""
    if wanted == "__version__":
        return None
    if wanted not in LAYERS:
        return None if layer in FACES else f"{layer} imports the package's own face"
    if LAYERS.index(wanted) > LAYERS.index(layer):
        return f"{layer} imports {wanted}, a later layer"
    if (
        layer == wanted == "families"
        and home != ("families", "__init__")
        and target[1:2] != home[1:2]
    ):
        return f"the family {home[1]} imports {'.'.join(target)}"
    return None


def faults(source: Path) -> list[str]:
    """Every import below `source` that breaks the order, as "file:line: reason"."""
    found = []
    for path in sorted(source.rglob("*.py")):
        relative = path.relative_to(source)
        home = relative.with_suffix("").parts
        if relative.as_posix() in EXEMPT:
            continue
        if home[0] not in LAYERS:
            found.append(f"{relative}: {home[0]} is not a layer")
            continue
        reasons = ((line, fault(home, name[1:])) for line, name in imports(path, source))
        found += [f"{relative}:{line}: {reason}" for line, reason in reasons if reason]
    return found


def module_of(name: tuple[str, ...], source: Path) -> Path | None:
    """The file that an imported name stands in or is, below `source`."""
    if name[1:] == ("__version__",):
        return None
    for end in range(len(name), 0, -1):
        place = source.joinpath(*name[1:end])
        if place.with_suffix(".py").is_file():
            return place.with_suffix(".py")
        if (place / "__init__.py").is_file():
            return place / "__init__.py"
    return None


def circle(source: Path) -> list[str]:
    """Files that import each other in a circle, the first one again at its end; none where there is no circle."""
    needs = {
        path: {
            target
            for _, name in imports(path, source)
            if (target := module_of(name, source)) not in {None, path}
        }
        for path in sorted(source.rglob("*.py"))
    }
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        return [path.relative_to(source).as_posix() for path in reversed(error.args[1])]
    return []


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / "likeness" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root / "likeness"


def test_imports_go_one_way():
    assert faults(SOURCE) == []


def test_no_files_import_each_other_in_a_circle():
    assert circle(SOURCE) == []


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            {
                "core/a.py": "from likeness.core import b\n",
                "core/b.py": "from likeness.core.a import f\n",
            },
            ["core/a.py", "core/b.py", "core/a.py"],
        ),
        (
            {
                "core/a.py": "from .b import f\n",
                "core/b.py": "def f():\n    from likeness.core import c\n",
                "core/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from likeness.core import a\n",
            },
            ["core/a.py", "core/b.py", "core/c.py", "core/a.py"],
        ),
        (
            {
                "nets/__init__.py": "from likeness.nets.mlp import MLP\n",
                "nets/mlp.py": "from likeness import nets\n",
            },
            ["nets/__init__.py", "nets/mlp.py", "nets/__init__.py"],
        ),
    ],
)
def test_a_planted_circle_is_caught(tmp_path, files, found):
    caught = circle(plant(tmp_path, {"__init__.py": "", **files}))
    start = caught.index(found[0])
    assert [*caught[start:-1], *caught[: start + 1]] == found


def test_a_tree_in_order_has_no_faults(tmp_path):
    source = plant(
        tmp_path,
        {
            "__init__.py": "from likeness.studio import app\n",
            "__main__.py": "from likeness.cli import main\n",
            "core/distribution.py": "import torch\nfrom likeness import __version__\nfrom .space import Space\n",
            "learn/run.py": "import likeness.core.model\nfrom ..core import batch\nfrom likeness.learn.em import EM\n",
            "families/__init__.py": "from likeness.families import flow\n",
            "families/flow.py": "from likeness.nets.mlp import MLP\n",
            "families/vae/model.py": "from likeness.families.vae import encoder\nfrom . import decoder\n",
            "query.py": "from likeness.families import flow\n",
            "cli/__init__.py": "import likeness as lk\nfrom likeness import fit\n",
        },
    )
    assert faults(source) == []
    assert circle(source) == []


@pytest.mark.parametrize(
    ("name", "text", "line", "reason"),
    [
        (
            "core/distribution.py",
            "import likeness.data.source\n",
            1,
            "core imports data, a later layer",
        ),
        (
            "core/distribution.py",
            "from likeness.data import source\n",
            1,
            "core imports data, a later layer",
        ),
        (
            "core/distribution.py",
            "from likeness import data\n",
            1,
            "core imports data, a later layer",
        ),
        (
            "core/distribution.py",
            "from ..data import source\n",
            1,
            "core imports data, a later layer",
        ),
        ("core/deep/law.py", "from ... import learn\n", 1, "core imports learn, a later layer"),
        ("core/__init__.py", "from ..nets.mlp import MLP\n", 1, "core imports nets, a later layer"),
        (
            "nets/mlp.py",
            "def f():\n    from likeness.heads import columns\n",
            2,
            "nets imports heads, a later layer",
        ),
        (
            "routes/bayes.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from likeness.families.flow import Flow\n",
            3,
            "routes imports families, a later layer",
        ),
        (
            "query.py",
            "import os, likeness.check.oracles\n",
            1,
            "query imports check, a later layer",
        ),
        ("learn/run.py", "import likeness\n", 1, "learn imports the package's own face"),
        ("learn/run.py", "from likeness import fit\n", 1, "learn imports the package's own face"),
        (
            "families/vae.py",
            "from likeness.families.flow import F\n",
            1,
            "the family vae imports families.flow.F",
        ),
        ("families/vae.py", "from . import flow\n", 1, "the family vae imports families.flow"),
        ("families/vae.py", "import likeness.families\n", 1, "the family vae imports families"),
    ],
)
def test_a_planted_import_is_caught(tmp_path, name, text, line, reason):
    assert faults(plant(tmp_path, {name: text})) == [f"{name}:{line}: {reason}"]


def test_a_module_outside_the_layers_is_caught(tmp_path):
    assert faults(plant(tmp_path, {"utils.py": ""})) == ["utils.py: utils is not a layer"]
