"""What families say of their variables: the Space's are observed, codes are latent, a net's edges are its own."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import likeness as lk
from likeness import registry
from likeness.check.spaces import GIVENS, SPACES
from likeness.core.plates import FORWARD, Graph
from likeness.core.space import Nominal, Real, Space, entry_names, vector
from likeness.inference.sequence.steps import Steps, timed

FAMILIES = sorted(n for n, f in registry.load_all().items() if f.__module__.startswith("likeness."))
OWN = {"vi": {"target": "math:sqrt"}}


def models(family):
    """One for each Space and `given` that the family takes."""
    model = registry.family(family)
    for space, given in itertools.product(SPACES.values(), GIVENS.values()):
        over, under = space(), given()
        options = model.small(over) | OWN.get(family, {})
        if over.dims <= 64 and model.accepts(model.Config.parse(options), over, under):
            yield registry.build(family, options, over, under)


def parts_of(space):
    """The Spaces that a variable may have which stands for x as a whole, for one of its steps, or for one entry."""
    found = [space, *(vector(1, v) for v in dict.fromkeys(space.variables))]
    return found + ([Steps(space).space] if timed(space) else [])


def covers(nodes, space):
    """Whether variables are those of a Space: x, steps or entries of x under one symbol, or each entry by its name."""
    names = [n.name for n in nodes]
    if len(nodes) == space.dims and names == list(entry_names(space)):
        columns = space.columns * (space.dims // space.width)
        return [n.space for n in nodes] == [vector(1, v) for v in columns]
    told = [n.space for n in nodes if n.space is not None]
    alike = len(set(names)) == 1 and len(names[0]) == 1 and len(told) in {0, len(nodes)}
    whole = len(nodes) > 1 or nodes[0].index or told == [space]
    return alike and all(one in parts_of(space) for one in told) and bool(whole)


def followed(graph, key):
    """All that follows a variable."""
    found, waiting = set(), [key]
    while waiting:
        at = waiting.pop()
        below = {e.head for e in graph.edges if e.tail == at and e.tie in FORWARD} - found
        found |= below
        waiting += below
    return found


def faults(model, graph):
    """What is wrong in what a model says of its variables."""
    wrong = []
    posterior = registry.name_of(model.config) == "vi"  # of unknowns: its Space is what is latent
    if not covers(graph.of("latent" if posterior else "observed"), model.space):
        wrong.append("what is observed is not the Space")
    given = graph.of("given")
    told = model.given_space
    stepwise = [] if told is None else [vector(told.width, told.columns, told.names)]
    if not posterior and (
        len(given) != (told is not None) or any(n.space not in [told, *stepwise] for n in given)
    ):
        wrong.append("what is given is not its Space")
    codes = model.codes
    if model.support("encode") and codes is not model.space:
        among = [codes, *([Steps(codes).space] if timed(codes) else [])]
        wrong += (
            [] if any(n.space in among for n in graph.of("latent")) else ["codes are not latent"]
        )
    seen = {n.key for n in graph.of("observed", "given")}
    wrong += [
        f"{n.key} leads to nothing seen"
        for n in graph.of("latent")
        if not followed(graph, n.key) & seen
    ]
    held = {k for p in graph.plates for k in p.nodes}
    loose = (
        ()
        if posterior
        else (n.key for n in graph.of("observed", "given", "latent") if n.key not in held)
    )
    return wrong + [f"{key} stands in no plate" for key in loose]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_family_says_of_its_variables_is_so(family):
    count = 0
    for model in models(family):
        assert faults(model, model.graph()) == [], (model.space, model.given_space)
        count += 1
    assert count


@pytest.mark.parametrize(
    ("bug", "why"),
    [
        ({"kind": "observed"}, "not the Space"),
        ({"space": vector(3)}, "codes are not latent"),
        ({"kind": "parameter"}, "codes are not latent"),
    ],
)
def test_a_planted_bug_is_seen(bug, why):
    model = registry.build("mixture", {"components": 4}, vector(2))
    graph = model.graph()
    wrong = replace(
        graph, nodes=tuple(replace(n, **bug) if n.key == "z" else n for n in graph.nodes)
    )
    assert any(why in fault for fault in faults(model, wrong))


def test_a_code_that_leads_nowhere_and_a_wrong_space_are_seen():
    model = registry.build("pca", {}, vector(4))
    graph = model.graph()
    loose = Graph(graph.nodes, tuple(e for e in graph.edges if e.tail != "z"), graph.plates)
    assert "z leads to nothing seen" in faults(model, loose)
    other = replace(
        graph, nodes=tuple(replace(n, space=vector(5)) if n.key == "x" else n for n in graph.nodes)
    )
    assert "what is observed is not the Space" in faults(model, other)


@pytest.mark.parametrize("real", [False, True])
def test_a_learned_tree_is_drawn_with_its_own_edges(real):
    """The data's tree is known: each column follows one of those before it closely."""
    rng, above = np.random.default_rng(3), [None, 0, 0, 1, 1, 2, 5]
    x = rng.normal(size=(3000, 7)) if real else rng.integers(0, 3, (3000, 7))
    for j, i in enumerate(above):
        if i is not None:
            x[:, j] = (
                x[:, i] + 0.5 * x[:, j]
                if real
                else np.where(rng.random(3000) < 0.8, x[:, i], x[:, j])
            )
    names = [f"column {j}" for j in range(7)]
    model = lk.fit("bayes_net", pd.DataFrame(x if real else x.astype(str), columns=names), seed=0)
    graph = model.graph()
    edges = [(e.tail, e.head) for e in graph.edges]
    assert edges == model.edges[0]
    assert {frozenset(e) for e in edges} == {
        frozenset((names[i], names[j])) for j, i in enumerate(above) if j
    }
    assert all(f">{name}</text>" in graph.to_svg() for name in names)
    assert [p.label for p in graph.plates] == [f"N = {model.facts['data']['rows']:,} rows"]


def test_a_given_graph_is_drawn_as_it_was_given():
    parents = {"c": ("a", "b"), "d": ("c",)}
    space = Space(
        axes=("column",), shape=(4,), variables=(Nominal(categories=2),), names=("a", "b", "c", "d")
    )
    edges = registry.build("bayes_net", {"parents": parents}, space).graph().edges
    assert {(e.tail, e.head) for e in edges} == {("a", "c"), ("b", "c"), ("c", "d")}


def test_a_window_is_drawn_with_all_its_steps():
    space = SPACES["symbols"]()
    for order in (1, 3):
        graph = registry.build("markov", {"order": order}, space).graph()
        into = {e.tail for e in graph.edges if e.head == "x_t" and e.tail != "θ"}
        assert into == {f"x_t-{k}" for k in range(1, order + 1)}


def test_unknowns_of_a_density_are_latent_by_their_names():
    space = vector(2, Real(), ("slope", "intercept"))
    graph = registry.build("vi", OWN["vi"], space).graph()
    assert [n.key for n in graph.of("latent")] == ["slope", "intercept"]
    assert graph.of("observed") == ()


def test_a_law_within_a_law_is_named():
    flow = registry.build("vae", {"prior": "flow"}, vector(3)).graph()
    assert [n.note for n in flow.of("latent")] == ["distribution: flow"]
