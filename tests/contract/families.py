"""What the contract is asked of: every family there is, and the truth."""

from likeness import registry
from likeness.check.cell import TRUTH, cells_of
from likeness.check.spaces import GIVENS, SPACES

FAMILIES = {
    name: model
    for name, model in sorted(registry.load_all().items())
    if model.__module__.startswith("likeness.")
}
# What `make test` asks for: one Space of each type of data, and its conditions; `make contract` asks for all
QUICK = {
    "reals2": {"none", "label", "vector"},
    "nominal4": {"none", "label"},
    **{
        space: {"none"}
        for space in ("rounded", "counts4", "table", "image_binary", "symbols", "series")
    },
}

ANSWERS = {
    (name, space, given): answer
    for name, model in FAMILIES.items()
    for space, given, answer in cells_of(model)
}
CELLS = [cell for cell, answer in ANSWERS.items() if answer]
TRUTHS = [(TRUTH, space, given) for space in SPACES for given in GIVENS]


def quick(cell):
    """Whether `make test` asks for a cell."""
    _, space, given = cell
    return given in QUICK.get(space, set())
