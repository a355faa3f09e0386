"""Help and lists start at once: nothing heavy is imported, and they take less than 0.3 s of processor time."""

import json
import resource
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
SECONDS = 0.3
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
print(json.dumps({"code": code, "heavy": heavy}), file=sys.stderr)
""".replace("HEAVY", json.dumps(HEAVY))


def started(*words: str) -> tuple[dict, str, float]:
    """What a fresh process imported and printed, and its processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(words)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stderr.splitlines()[-1]), done.stdout, spent


@pytest.mark.parametrize(
    ("words", "shows"),
    [(("--help",), "compare"), (("families",), "mixture"), (("families", "vae"), "latent=16")],
)
def test_starts_at_once(words, shows):
    seen = [started(*words) for _ in range(3)]
    facts, out, _ = seen[0]
    assert facts == {"code": 0, "heavy": []}
    assert shows in out
    assert min(spent for *_, spent in seen) < SECONDS


def test_a_wrong_family_is_named_without_torch():
    facts, _, _ = started("families", "flwo")
    assert facts["code"] == 2
    assert "torch" not in facts["heavy"]


def test_wrong_options_are_named_without_torch():
    facts, _, _ = started("fit", "nothing.csv", "flow", "layer=3")
    assert facts["code"] == 2
    assert not {"torch", "pandas", "numpy"} & set(facts["heavy"])
