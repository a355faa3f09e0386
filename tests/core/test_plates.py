"""Graphs of variables: what is refused, and values in words."""

import pytest

from likeness.core import plates
from likeness.core.errors import LikenessError
from likeness.core.plates import Edge, Graph, Node, Plate
from likeness.core.space import Count, Nominal, Real, image, sequence, series, vector

A, B, C = (Node(name, "latent") for name in "abc")


@pytest.mark.parametrize(
    ("edges", "boxes", "why"),
    [
        ([("a", "d")], [], "there is no variable d"),
        ([("a", "a")], [], "a circle: a -> a"),
        ([("a", "b"), ("b", "c", "map"), ("c", "a", "steps")], [], "edges go in a circle"),
        ([], [("N", ("a", "b")), ("M", ("b", "c"))], "the plates of N and of M cross"),
        ([], [("N", ())], "holds nothing"),
        ([], [("N", ("d",))], "there is no variable d"),
    ],
)
def test_a_graph_that_makes_no_sense_is_refused(edges, boxes, why):
    with pytest.raises(LikenessError, match=why):
        Graph((A, B, C), tuple(Edge(*e) for e in edges), tuple(Plate(*p) for p in boxes))


def test_two_variables_of_one_name_are_refused():
    with pytest.raises(LikenessError, match="two variables are called a"):
        Graph((A, B, A))


def test_ties_without_direction_and_encoders_may_go_round():
    ring = (
        Edge("a", "b", "link"),
        Edge("b", "c", "link"),
        Edge("c", "a", "link"),
        Edge("b", "a", "encoder"),
    )
    assert Graph((A, B, C), ring).edges == ring


def test_of_two_equal_plates_the_later_lies_within():
    outer, inner = Plate("N", ("a",)), Plate("T", ("a",))
    graph = Graph((A,), (), (outer, inner))
    assert graph.within(inner, outer)
    assert not graph.within(outer, inner)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (vector(1), "real"),
        (vector(3), "real [3]"),
        (image(1, 8, 8, levels=2), "0 or 1 [1 × 8 × 8]"),
        (image(3, 8, 8), "0 to 255 [3 × 8 × 8]"),
        (sequence(5, 12), "one of 5 [≤ 12]"),
        (series(3, 16), "real [≤ 16 × 3]"),
        (
            vector(3, (Real(resolution=0.1), Count(), Nominal(categories=2))),
            "rounded real, count, one of 2 [3]",
        ),
    ],
)
def test_values_in_words(space, words):
    assert plates.values(Node("x", "observed", space)) == words
