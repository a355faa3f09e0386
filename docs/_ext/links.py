"""Whether every link inside a built site leads to a page, a file or a place on a page that is there.

python docs/_ext/links.py docs/_build/html
"""

from __future__ import annotations

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page and the places on it that links may name."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what an element links to and what it is called."""
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value)
            if name in ("id", "name") and value:
                self.places.add(value)


@cache
def read(path: Path) -> Page:
    """A page, parsed."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def leads(source: Path, link: str) -> bool:
    """Whether a link of the page `source` leads somewhere; links out of the site are not followed."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = source
    if parts.path:
        target = (source.parent / unquote(parts.path)).resolve()
    if not target.is_file():
        return False
    if not parts.fragment or target.suffix != ".html":
        return True
    return unquote(parts.fragment) in read(target).places


def pages(site: Path) -> list[Path]:
    """The pages of a site; what lies in `_static` are parts of the theme."""
    return [p for p in sorted(site.rglob("*.html")) if "_static" not in p.relative_to(site).parts]


def broken(site: Path) -> list[str]:
    """Every link that leads nowhere, with its page."""
    return [
        f"{path.relative_to(site)}: {link}"
        for path in pages(site)
        for link in read(path).links
        if not leads(path, link)
    ]


def main(site: Path) -> int:
    """Print what is broken; 1 if anything is, or if there is no page."""
    site = site.resolve()
    many = len(pages(site))
    found = broken(site)
    print("\n".join([*found, f"{many} pages, {len(found)} broken links"]))
    return int(bool(found) or not many)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
