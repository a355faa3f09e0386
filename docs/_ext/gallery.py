"""The galleries: examples draw into a folder of their own, and a page shows the figure before the code."""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

FIGURES = Path(tempfile.gettempdir()) / "likeness-gallery"
ROW = re.compile(r"\]\(\.\./examples/(\w+)\.py\)")


def configuration(docs: Path) -> dict[str, Any]:
    """What sphinx-gallery is told; names of functions instead of functions, so that it can be cached."""
    warnings.filterwarnings("ignore", module="likeness")
    return {
        "examples_dirs": [str(docs / "tutorials"), str(docs.parent / "examples")],
        "gallery_dirs": ["learn", "gallery"],
        "filename_pattern": r"/(?!_)\w+\.py$",
        "ignore_pattern": r"^_",
        "within_subsection_order": "gallery.InOrder",
        "copyfile_regex": "",
        "image_scrapers": ("matplotlib", "gallery.written"),
        "reset_argv": "gallery.arguments",
        "reset_modules": (),
        "show_memory": False,
        "write_computation_times": False,
        "show_signature": False,
        "download_all_examples": False,
        "remove_config_comments": True,
        "min_reported_time": 10_000,
        "capture_repr": ("_repr_html_", "__repr__"),
        "plot_gallery": "True",
        "abort_on_example_error": False,
        "only_warn_on_example_error": False,
    }


def arguments(gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
    """The arguments of an example: an empty folder for its figure."""
    shutil.rmtree(FIGURES, ignore_errors=True)
    return [str(FIGURES)]


def written(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """The figures that a block has written into the folder, as figures of its page."""
    images = []
    for found in sorted(FIGURES.glob("*.png")):
        image = next(block_vars["image_path_iterator"])
        shutil.move(found, image)
        images.append(image)
    return figure_rst(images, gallery_conf["src_dir"])


class InOrder:
    """Tutorials by their names; examples in the order in which the page of topics names them."""

    def __init__(self, source: str) -> None:
        topics = Path(__file__).parents[1] / "topics.md"
        self.order = list(dict.fromkeys(ROW.findall(topics.read_text(encoding="utf-8"))))

    def __call__(self, filename: str) -> tuple[int, str]:
        stem = Path(filename).stem
        place = self.order.index(stem) if stem in self.order else -1
        return place, stem
