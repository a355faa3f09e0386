"""What the whole repository promises: no path of one machine, no address of a registry, no pickle, hashed locks."""

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = (
    "requirements.lock",
    "requirements-uv.lock",
    "requirements-docs.lock",
    "bench/requirements.txt",
)

# Written in pieces, so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:work|tmp|home|root|Users|mnt|opt)/" + r"[\w.]")
REGISTRY = re.compile(
    "|".join(
        ("pypi" + r"\.org", "python" + "hosted", "download" + r"\.pytorch", "conda" + r"\.org")
    )
)
PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
PICKLE_CALLS = {
    ("torch", "load"),
    ("torch", "save"),
    ("pd", "read_pickle"),
    ("pandas", "read_pickle"),
}


@cache
def tracked() -> dict[str, str]:
    """Every text file that git holds, by its path."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git checkout")
    texts = {}
    for name in filter(None, listed.split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in content:
            texts[name] = content.decode("utf-8")
    return texts


def hits(pattern: re.Pattern[str], texts: dict[str, str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def pickling(text: str) -> list[str]:
    """Imports of modules that pickle, and calls that do so unseen."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in PICKLES]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found += [node.module] if node.module.split(".")[0] in PICKLES else []
            found += [
                f"{node.module}.{a.name}"
                for a in node.names
                if (node.module, a.name) in PICKLE_CALLS
            ]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += (
                [f"{node.value.id}.{node.attr}"]
                if (node.value.id, node.attr) in PICKLE_CALLS
                else []
            )
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            refused = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if refused else ["allow_pickle"]
    return found


def requirements(lock: str) -> dict[str, str]:
    """Name -> the entry of each requirement in a lock."""
    entries = re.split(r"\n(?=[a-z0-9])", "\n" + (ROOT / lock).read_text(encoding="utf-8"))
    return {re.match(r"[\w.-]+", entry)[0]: entry for entry in entries if "==" in entry}


def test_no_file_names_a_path_of_one_machine():
    assert hits(MACHINE_PATH, tracked()) == []


def test_no_file_names_a_registry():
    assert hits(REGISTRY, tracked()) == []


def test_source_does_not_pickle():
    sources = {
        name: text
        for name, text in tracked().items()
        if name.startswith("src/") and name.endswith(".py")
    }
    assert sources
    assert {name: found for name, text in sources.items() if (found := pickling(text))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "def f():\n    from joblib import dump",
        "torch.load(path)",
        "from torch import save",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_planted_pickling_is_caught(text):
    assert len(pickling(text)) == 1


def test_reading_without_pickle_is_allowed():
    assert (
        pickling("import numpy as np\nfrom torch import nn\nnp.load(path, allow_pickle=False)")
        == []
    )


@pytest.mark.parametrize("path", ["/work" + "/main/x", "see /tmp" + "/out.txt", "'/home" + "/me'"])
def test_a_planted_path_is_caught(path):
    assert hits(MACHINE_PATH, {"x": path}) == [f"x:1: {path}"]


@pytest.mark.parametrize(
    "path", ["docs/work" + "/x", "~/tmp" + "/x", "../tmp" + "/x", "n/work and /tmp"]
)
def test_a_relative_path_is_allowed(path):
    assert hits(MACHINE_PATH, {"x": path}) == []


def test_the_lock_holds_no_address():
    assert "http" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_hashed(lock):
    entries = requirements(lock)
    assert entries
    assert [name for name, entry in entries.items() if "--hash=sha256:" not in entry] == []
    assert "://" not in (ROOT / lock).read_text(encoding="utf-8")


def asked_for(extra: str) -> set[str]:
    """The names that the project asks for, with one of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"][extra]
    return {re.match(r"[\w-]+", r)[0] for r in wanted}


def test_the_lock_of_the_site_holds_what_the_site_asks_for():
    assert asked_for("docs") - requirements("requirements-docs.lock").keys() == set()


def test_the_lock_of_the_site_agrees_with_the_lock_of_the_project():
    pin = re.compile(r"==([\w.]+)")
    ours = requirements("requirements.lock")
    theirs = requirements("requirements-docs.lock")
    unlike = [
        name
        for name in ours.keys() & theirs.keys()
        if pin.search(ours[name])[1] != pin.search(theirs[name])[1]
    ]
    assert unlike == []


def test_the_lock_holds_what_the_project_asks_for():
    asked = asked_for("dev")
    assert asked - requirements("requirements.lock").keys() == set()
    assert {
        "hatchling",
        "editables",
    } <= asked  # without them the editable install would fetch unhashed builders


@pytest.mark.parametrize(
    "path",
    ["out/demo/report.html", "demo/report.html", "runs/iris/config.json", "docs/_build/html"],
)
def test_what_commands_write_is_ignored_by_git(path):
    tracked()
    answer = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
    assert answer.returncode == 0


def test_the_demo_of_make_writes_where_git_ignores_it():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "likeness demo --out out/demo" in recipe


@pytest.mark.xdist_group("sentinel")
def test_tests_of_one_group_stay_on_one_worker(request):
    """What a group shares is made once: where groups are asked for, a test's name says its own."""
    if getattr(request.config.option, "loadgroup", False):
        assert request.node.nodeid.endswith("@sentinel")
