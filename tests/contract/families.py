"""What the contract is asked of: every family there is, and the truth."""

from likeness import registry
from likeness.check.cell import TRUTH, cells_of
from likeness.check.spaces import GIVENS, SPACES

FAMILIES = {
    name: model
    for name, model in sorted(registry.load_all().items())
    if model.__module__.startswith("likeness.")
}
EVERY_GIVEN_ON = "reals2"  # the Space on which `make test` asks for every condition
LABELLED = ("nominal4", "image_binary")  # those on which it asks for a label too

ANSWERS = {
    (name, space, given): answer
    for name, model in FAMILIES.items()
    for space, given, answer in cells_of(model)
}
CELLS = [cell for cell, answer in ANSWERS.items() if answer]
TRUTHS = [(TRUTH, space, given) for space in SPACES for given in GIVENS]


def quick(cell):
    """Whether `make test` asks for a cell: all Spaces without a condition, all conditions on one, labels on three."""
    _, space, given = cell
    labelled = given == "label" and space in LABELLED
    return given == "none" or space == EVERY_GIVEN_ON or labelled
