"""The demo ends with its pages, its numbers and its sheet of samples."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_leaves_pages_numbers_and_samples(tmp_path):
    words = [
        sys.executable,
        "-m",
        "likeness",
        "demo",
        "--out",
        str(tmp_path),
        "--scale",
        "0.02",
        "--seeds",
        "1",
    ]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "Best by exact log p" in said
    assert (tmp_path / "samples.png").stat().st_size > 10_000
    for name in ("report", "moons"):
        facts = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        assert (tmp_path / f"{name}.html").exists()
        rows = {r["name"]: r["failure"] for r in facts["rows"]}
        families = {
            "independent",
            "gaussian",
            "mixture",
            "autoregressive",
            "vae",
            "gan",
            "flow",
            "diffusion",
        }
        assert families <= set(rows)
        assert not any(rows.values()), rows
