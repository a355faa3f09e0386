"""Help and lists start at once: nothing heavy is imported, and few modules are (`bench/start.py` has the seconds)."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "pandas",
    "sklearn",
    "matplotlib",
    "numpy",
    "scipy",
    "pyarrow",
    "PIL",
    "rich",
    "pydantic",
)
# An interpreter, the parser of commands and the commands are 230; numpy alone would add 140.
MODULES = 280
CHILD = """
import json, sys
sys.argv = ["likeness", *json.loads(sys.argv[1])]
from likeness.cli import main
try:
    main()
except SystemExit as end:
    code = end.code or 0
else:
    code = 0
heavy = [m for m in json.loads('HEAVY') if m in sys.modules]
print(json.dumps({"code": code, "heavy": heavy, "modules": len(sys.modules)}), file=sys.stderr)
""".replace("HEAVY", json.dumps(HEAVY))


def started(*words: str) -> tuple[dict, str]:
    """What a fresh process imported and printed."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(words)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stderr.splitlines()[-1]), done.stdout


@pytest.mark.parametrize(
    ("words", "shows"),
    [(("--help",), "compare"), (("families",), "mixture"), (("families", "vae"), "latent=16")],
)
def test_starts_at_once(words, shows):
    facts, out = started(*words)
    assert facts["code"] == 0
    assert facts["heavy"] == []
    assert facts["modules"] < MODULES
    assert shows in out


def test_a_wrong_family_is_named_without_torch():
    facts, _ = started("families", "flwo")
    assert facts["code"] == 2
    assert "torch" not in facts["heavy"]


def test_wrong_options_are_named_without_torch():
    facts, _ = started("fit", "nothing.csv", "flow", "layer=3")
    assert facts["code"] == 2
    assert not {"torch", "pandas", "numpy"} & set(facts["heavy"])
