"""Diagrams: nodes apart, plates around what they hold and nothing else, no edge across words, valid XML."""

import itertools
import random
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from likeness import registry
from likeness.check.spaces import GIVENS, SPACES
from likeness.core.plates import Edge, Graph, Node, Plate
from likeness.core.space import vector
from likeness.evaluate import layout as places
from likeness.evaluate import plates
from likeness.evaluate.layout import Box, isotonic

FAMILIES = sorted(n for n, f in registry.load_all().items() if f.__module__.startswith("likeness."))
OWN = {"vi": {"target": "math:sqrt"}}


def graphs_of(family):
    """A graph for each Space and `given` that a family takes, unlike ones only."""
    model, found = registry.family(family), {}
    for space, given in itertools.product(SPACES.values(), GIVENS.values()):
        over, under = space(), given()
        options = model.small(over) | OWN.get(family, {})
        if over.dims <= 64 and model.accepts(model.Config.parse(options), over, under):
            graph = registry.build(family, options, over, under).graph()
            found[str(graph)] = graph
    return list(found.values())


def network(count, seed, most=2):
    """Columns that each follow a few of those before."""
    rng = random.Random(seed)
    names = [f"column_{rng.choice(['a', 'income', 'household_size'])}_{i}" for i in range(count)]
    nodes = tuple(Node(n, "observed", vector(1)) for n in names)
    edges = tuple(
        Edge(names[i], names[j])
        for j in range(1, count)
        for i in sorted(rng.sample(range(max(0, j - 9), j), min(j, rng.randint(0, most))))
    )
    return Graph(nodes, edges, (Plate("N rows", tuple(names)),))


def laid(graph, monkeypatch):
    """The layout that a drawing rests on."""
    kept = []
    with monkeypatch.context() as patched:
        patched.setattr(plates, "laid", lambda *told: kept.append(places.laid(*told)) or kept[-1])
        plates.drawn(graph)
    return kept[0]


def faults(graph, found):
    """What of a layout is against the rules."""
    whole = Box(0, 0, found.width, found.height)
    wrong = [
        f"{a} meets {b}"
        for (a, x), (b, y) in itertools.combinations(found.nodes.items(), 2)
        if x.meets(y)
    ]
    wrong += [
        f"{k} lies outside the whole" for k, box in found.nodes.items() if not whole.holds(box)
    ]
    for plate, frame in found.plates.items():
        wrong += [f"{plate.label} lies outside the whole"] if not whole.holds(frame) else []
        for key, box in found.nodes.items():
            if key in plate.nodes and not frame.holds(box):
                wrong.append(f"{key} leaves {plate.label}")
            if key not in plate.nodes and frame.meets(box):
                wrong.append(f"{key} stands in {plate.label}")
    for (p, a), (q, b) in itertools.combinations(found.plates.items(), 2):
        inner = (
            a.holds(b)
            if graph.within(q, p)
            else b.holds(a)
            if graph.within(p, q)
            else not a.meets(b)
        )
        wrong += [] if inner else [f"the plates {p.label} and {q.label} cross"]
    return wrong


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_diagram_keeps_its_parts_apart(family, monkeypatch):
    graphs = graphs_of(family)
    assert graphs
    for graph in graphs:
        assert faults(graph, laid(graph, monkeypatch)) == []
        ElementTree.fromstring(plates.drawn(graph))


@pytest.mark.parametrize(("count", "most"), [(1, 1), (7, 1), (60, 1), (60, 2), (60, 4)])
def test_networks_keep_their_columns_apart(count, most, monkeypatch):
    for seed in range(3):
        graph = network(count, seed, most)
        found = laid(graph, monkeypatch)
        assert faults(graph, found) == []
        assert all(found.centres[e.tail][0] < found.centres[e.head][0] for e in graph.edges)


def anything(seed):
    """A graph such as no family has: any kinds, indices, ties and nested plates."""
    rng = random.Random(seed)
    kinds = ("observed", "given", "latent", "parameter")
    nodes = [
        Node(rng.choice("xyz") + str(i), rng.choice(kinds), index=rng.choice(["", "t", "t-1"]))
        for i in range(12)
    ]
    keys = [n.key for n in nodes]
    pairs = {tuple(sorted(rng.sample(range(12), 2))) for _ in range(rng.randint(0, 20))}
    ties = ("depends", "map", "bijection", "steps", "link")
    edges = [Edge(keys[i], keys[j], rng.choice(ties)) for i, j in sorted(pairs)]
    edges += [Edge(keys[j], keys[i], "encoder") for i, j in sorted(pairs) if rng.random() < 0.2]
    rng.shuffle(keys)
    whole, part, other = (
        keys[: rng.randint(6, 12)],
        keys[: rng.randint(1, 3)],
        keys[3 : rng.randint(4, 6)],
    )
    held = [
        Plate("N rows", tuple(whole)),
        Plate("some of them", tuple(part)),
        Plate("others", tuple(other)),
    ]
    return Graph(tuple(nodes), tuple(edges), tuple(held[: rng.randint(0, 3)]))


def test_whatever_the_graph_its_parts_are_apart(monkeypatch):
    for seed in range(300):
        graph = anything(seed)
        assert faults(graph, laid(graph, monkeypatch)) == [], seed
        ElementTree.fromstring(plates.drawn(graph))


def test_a_planted_overlap_is_seen(monkeypatch):
    monkeypatch.setattr(places, "GAP", -10.0)
    graph = network(30, 0)
    assert any("meets" in fault for fault in faults(graph, laid(graph, monkeypatch)))


def test_a_plate_without_room_is_seen(monkeypatch):
    monkeypatch.setattr(places, "PAD", -4.0)
    graph = network(30, 0)
    assert any("leaves" in fault for fault in faults(graph, laid(graph, monkeypatch)))


def curve(path, steps=60):
    """Points along a path of cubic curves."""
    numbers = np.array([float(v) for v in re.findall(r"-?\d+\.?\d*", path)]).reshape(-1, 2)
    t = np.linspace(0, 1, steps)[:, None]
    for i in range(0, len(numbers) - 1, 3):
        a, b, c, d = numbers[i : i + 4]
        yield from (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d


def heads(svg):
    """The area and the tip of every arrow's head."""
    for polygon in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}polygon"):
        a, b, c = np.array(
            [[float(v) for v in p.split(",")] for p in polygon.get("points").split()]
        )
        yield abs((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]) / 2, a


@pytest.mark.parametrize(
    "graph", [network(60, s) for s in range(3)] + [g for f in FAMILIES for g in graphs_of(f)[:2]]
)
def test_every_edge_with_a_direction_has_its_arrows(graph):
    found = list(heads(plates.drawn(graph)))
    assert len(found) == sum({"link": 0, "bijection": 2}.get(e.tie, 1) for e in graph.edges)
    assert all(area == pytest.approx(plates.HEAD**2 / 2, rel=0.1) for area, _ in found)


@pytest.mark.parametrize("seed", range(3))
def test_edges_of_networks_pass_no_column(seed, monkeypatch):
    """Between its ends an edge stays out of every node's box, its words included."""
    graph = network(40, seed)
    boxes = laid(graph, monkeypatch).nodes
    drawn = ElementTree.fromstring(plates.drawn(graph)).iter("{http://www.w3.org/2000/svg}path")
    for edge, path in zip(graph.edges, drawn, strict=True):
        for x, y in curve(path.get("d")):
            for key, box in boxes.items():
                inside = box.x < x < box.x + box.width and box.y < y < box.y + box.height
                assert not inside or key in {edge.tail, edge.head}, (edge, key)


def test_trees_are_drawn_without_crossings(monkeypatch):
    rng = random.Random(1)
    nodes = tuple(Node(f"v{i}", "observed") for i in range(50))
    graph = Graph(
        nodes, tuple(Edge(f"v{rng.randrange(max(0, i - 12), i)}", f"v{i}") for i in range(1, 50))
    )
    found = laid(graph, monkeypatch)
    ends = [(found.centres[e.tail], found.centres[e.head]) for e in graph.edges]
    crossed = [
        (a, b)
        for (a, b), (c, d) in itertools.combinations(ends, 2)
        if a[0] == c[0] and (a[1] - c[1]) * (b[1] - d[1]) < 0
    ]
    assert crossed == []


@pytest.mark.parametrize(
    "words", ["x", "household_size_per_head", "MMM", "illicit", "0 or 1 [1 × 8 × 8]", "Zürich"]
)
def test_the_width_of_words_is_not_guessed_too_small(words):
    """Against DejaVu Sans, which is wider than Helvetica and Arial are."""
    true = (
        TextPath((0, 0), words, size=13, prop=FontProperties(family="DejaVu Sans")).get_extents().x1
    )
    assert 0.95 * true <= plates.wide(words, 13) <= 1.6 * true


def test_isotonic_regression_is_scikit_learns():
    from sklearn.isotonic import isotonic_regression

    values = np.random.default_rng(0).normal(size=40)
    assert np.allclose(isotonic(list(values)), isotonic_regression(values), atol=1e-12)


def test_kinds_of_nodes_look_unlike_and_names_are_escaped():
    nodes = (Node("a<b", "observed"), Node("z", "latent"), Node("θ", "parameter"))
    graph = Graph(nodes, (Edge("z", "a<b"), Edge("θ", "z"), Edge("a<b", "z", "encoder")))
    root = ElementTree.fromstring(plates.drawn(graph))
    fills = [e.get("fill") for e in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert fills == [plates.SEEN, plates.UNSEEN]
    dashed = [e.get("stroke-dasharray") for e in root.iter("{http://www.w3.org/2000/svg}path")]
    assert [d is not None for d in dashed] == [False, False, True]
    assert root.find("{http://www.w3.org/2000/svg}title").text.startswith("The variables a<b, z")


def test_a_graph_draws_itself_where_the_package_is_loaded():
    import likeness as lk

    assert lk.compare  # the face registers what draws
    assert Graph((Node("x", "observed"),)).to_svg().startswith("<svg xmlns=")
