"""Models that earlier versions saved open, and answer as they did."""

import json
import runpy
from pathlib import Path

import pytest
import torch

import likeness as lk

HOME = Path(__file__).parents[1] / "fixtures" / "models"
MAKE = runpy.run_path(str(HOME / "make.py"))
KEPT = sorted(path.parent for path in HOME.glob("*/*/config.json"))


def test_models_of_several_families_are_kept():
    assert {path.name for path in KEPT} == set(MAKE["CASES"])


@pytest.mark.parametrize("folder", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_models_of_earlier_versions_open_and_answer_the_same(folder):
    kept = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    data, _ = MAKE["CASES"][folder.name]
    found = MAKE["answers"](lk.open(folder), data()[: MAKE["ROWS"]])
    assert found["kind"] == kept["kind"]
    for name in ("log_prob", "sample"):
        now = torch.tensor(found[name], dtype=torch.float64)
        then = torch.tensor(kept[name], dtype=torch.float64)
        assert torch.allclose(now, then, rtol=1e-4, atol=1e-4), name
