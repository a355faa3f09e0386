"""The documents: links lead somewhere, and nothing that a user can name is left unmentioned."""

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from likeness.cli import VERBS
from likeness.registry.index import read as families

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
CODE = re.compile(r"`[^`\n]*`")
# Pages that the site makes of the code: links to them are checked where the site is built
MADE = re.compile(r"^docs/(reference/(cli\.md|families/|packages/)|gallery/|learn/)")
QUESTIONS = (
    "sample",
    "log_prob",
    "complete",
    "forecast",
    "mode",
    "encode",
    "decode",
    "classify",
    "anomaly_score",
    "anomaly_map",
    "p_value",
    "support",
    "query",
)


def pages() -> list[Path]:
    """Every page in Markdown that git holds or would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    names = filter(None, listed.stdout.split("\0"))
    return [p for name in sorted(names) if (p := ROOT / name).is_file()]


def links(page: Path) -> list[str]:
    """The relative links of a page, code left out."""
    text = CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in LINK.findall(text) if "://" not in link and ":" not in link]


def is_there(page: Path, link: str) -> bool:
    target = (page.parent / link).resolve()
    if not target.is_relative_to(ROOT):
        return False
    return target.exists() or bool(MADE.match(target.relative_to(ROOT).as_posix()))


def prose() -> str:
    """What people read first: the README and the pages of the site that people write."""
    names = ["README.md", "docs/start.md", "docs/choosing.md", "docs/recipes.md"]
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def test_every_relative_link_leads_to_a_file():
    assert pages()
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages()
        for link in links(page)
        if not is_there(page, link)
    ]
    assert broken == []


def test_a_planted_link_to_nothing_is_noticed():
    assert not is_there(ROOT / "README.md", "docs/no_such_page.md")
    assert not is_there(ROOT / "docs" / "design.md", "../../elsewhere.md")


def test_every_family_is_mentioned():
    text = prose()
    assert [name for name in families() if f"`{name}`" not in text] == []


def test_every_command_is_mentioned():
    text = prose()
    names = [verb.__name__.replace("_", "-") for verb in VERBS]
    assert [name for name in names if f"likeness {name}" not in text] == []


def test_every_question_is_mentioned():
    text = prose()
    assert [name for name in QUESTIONS if not re.search(rf"\b{name}\b", text)] == []


def test_the_readme_begins_with_a_small_picture():
    first = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:20]
    pictures = [m[1] for line in first if (m := re.match(r"!\[.+\]\((.+\.png)\)", line))]
    assert pictures
    assert (ROOT / pictures[0]).stat().st_size < 150_000


def checker() -> ModuleType:
    """The check of a built site's links, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("links", ROOT / "docs" / "_ext" / "links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_broken_links_of_a_built_site_are_found(tmp_path):
    links = checker()
    (tmp_path / "a.html").write_text('<h1 id="top"><a href="b.html#here">b</a></h1>')
    (tmp_path / "b.html").write_text(
        '<p id="here"><a href="a.html#top">a</a><a href="https://x.y/z">out</a></p>'
    )
    assert links.broken(tmp_path) == []
    (tmp_path / "c.html").write_text('<a href="a.html#gone">a</a><img src="none.png">')
    assert links.broken(tmp_path) == ["c.html: a.html#gone", "c.html: none.png"]
