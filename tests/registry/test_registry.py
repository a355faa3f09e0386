"""The registry: the shipped index is what the families say, names and options are checked before any fit."""

import subprocess
import sys
from importlib import resources

import pytest

from likeness import registry
from likeness.core.config import Settings
from likeness.core.errors import BadConfig
from likeness.core.space import binary, vector
from likeness.registry import entries


def test_the_shipped_index_is_what_the_families_say() -> None:
    shipped = (
        resources.files("likeness.families").joinpath("index.json").read_text(encoding="utf-8")
    )
    assert shipped == entries.text(), "run: python -m likeness.registry.entries"


def test_every_option_is_described_and_none_is_reserved() -> None:
    for name, family in registry.load_all().items():
        for field, info in family.Config.model_fields.items():
            assert info.description, f"{name}.{field} has no description"
            assert field not in Settings.reserved
            assert info.json_schema_extra["section"] in {"family", "objective", "optimiser"}


def test_the_index_needs_no_torch() -> None:
    code = "import sys; from likeness.registry import index; index.read(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_near_names_are_offered() -> None:
    with pytest.raises(BadConfig, match="did you mean 'gaussian'"):
        registry.family("gausian")
    with pytest.raises(BadConfig, match="did you mean 'shrinkage'"):
        registry.build("gaussian", {"shrinkag": 0.1}, vector(2))
    with pytest.raises(BadConfig, match="shrinkage"):
        registry.build("gaussian", {"shrinkage": 3}, vector(2))


def test_refusals_come_before_any_fit() -> None:
    with pytest.raises(BadConfig, match="take `mixture` with components=1"):
        registry.build("gaussian", {}, vector(3, binary()))


def test_initial_weights_are_a_function_of_the_seed_alone() -> None:
    import torch

    torch.manual_seed(1)
    a = registry.build("flow", {"layers": 1, "hidden": (8,)}, vector(3), seed=5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    b = registry.build("flow", {"layers": 1, "hidden": (8,)}, vector(3), seed=5)
    assert torch.equal(before, torch.get_rng_state())
    assert all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )
    c = registry.build("flow", {"layers": 1, "hidden": (8,)}, vector(3), seed=6)
    assert any(not torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters(), strict=True))


def test_a_model_that_was_built_by_name_can_be_saved(tmp_path) -> None:
    code = (
        "from likeness import registry; from likeness.core.space import vector; import sys; "
        "registry.build('gaussian', {}, vector(2)).save(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], check=True)
    assert (tmp_path / "m" / "config.json").is_file()
