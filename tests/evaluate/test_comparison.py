"""A comparison's promises: one split, failures as rows, intervals, ties said, unlike kinds apart, copies caught."""

import io
import json
import math
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import likeness as lk
from likeness.core.answers import Kind, Scored
from likeness.core.config import Config
from likeness.core.errors import BadConfig
from likeness.core.learner import EM
from likeness.core.model import Model
from likeness.data.synthetic import world
from likeness.evaluate.columns import COLUMNS, absent, measured
from likeness.evaluate.ranking import rank
from likeness.evaluate.report import page
from likeness.metrics.intervals import normal_interval
from likeness.registry import CARDS, FAMILIES, Card, register

QUICK = {"rows": 600, "draws": 60, "batch": 50, "pictures": 60}


class Toy(Model):
    """A unit normal about a mean that is shifted, whose log p is called what it is told to be."""

    class Config(Config):
        """Options."""

        shift: float = 0.0
        kind: int = 0
        fails: int = -1

    natural_dtype = torch.float64

    def learner(self) -> EM:
        def maximise(sums: Any, before: Any) -> Any:
            if self.config.fails == self.seed:
                raise ZeroDivisionError("the toy broke")
            return before

        return EM(
            lambda s, n: {"at": torch.zeros(1)}, self._sums, maximise, lambda p: None, passes=1
        )

    def _prepare(self, source: Any) -> None:
        self.seed = 0

    def _sums(self, batch: Any, parameters: Any) -> Any:
        return {"weight": batch.weights.sum(), "objective": batch.x.sum() * 0}

    def _log_prob(self, batch: Any, noise: Any, effort: Any, settings: Any) -> Scored:
        x = batch.x - self.config.shift
        value = (-0.5 * x.square() - 0.5 * math.log(2 * math.pi)).sum(-1)
        return Scored(value, Kind(self.config.kind))

    def _sample(self, noise: Any, given: Any, length: Any, settings: Any) -> torch.Tensor:
        return noise.normal("x", *self.space.layout) + self.config.shift


pytestmark = pytest.mark.xdist_group("comparison")  # what is compared is fitted once


@pytest.fixture(scope="module", autouse=True)
def toy():
    register(Card("toy", "A toy", "classical", "none", 2000, "For tests."))(Toy)
    yield
    del FAMILIES["toy"], CARDS["toy"]


@pytest.fixture(scope="module")
def compared(toy):
    families = [
        ("toy", {"shift": 0.0}),
        ("toy", {"shift": 0.02}),
        ("toy", {"shift": 1.0}),
        ("toy", {"kind": 1}),
        ("toy", {"fails": 0}),
    ]
    return lk.compare(world("gaussian", rho=0.0), families, budget=1, seeds=2, options=QUICK)


def test_rows_for_the_truth_the_baselines_and_every_family_are_always_there(compared):
    assert [r.name for r in compared.rows if r.role == "baseline"] == [
        "gaussian",
        "independent",
        "resampled",
    ]
    assert compared.row("truth").role == "truth"
    assert len(compared.rows) == 9
    assert all(set(r.cells) == {c.key for c in COLUMNS} for r in compared.rows)


def test_the_truth_has_minus_its_entropy(compared):
    cell = compared.row("truth").cells["log_prob"]
    assert cell.low <= -world("gaussian", rho=0.0).entropy <= cell.high
    assert compared.row("truth").copies is False


def test_a_failure_at_any_seed_is_a_row_with_its_sentence(compared):
    row = compared.row("toy fails=0")
    assert row.failure == "seed 0: ZeroDivisionError: the toy broke"
    assert not any(row.cells.values())
    assert any("toy fails=0 failed: seed 0: ZeroDivisionError" in s for s in compared.sentences)


def test_equal_laws_are_not_separable_and_unlike_ones_are(compared):
    group = next(g for g in compared.ranking.groups if g.kind == "exact")
    gap = {frozenset((g.ahead, g.behind)): g for g in group.gaps}
    shifted = gap[frozenset(("toy shift=0.0", "toy shift=1.0"))]
    # Both dimensions lose half a square nat in the mean over the world itself.
    assert shifted.low <= 1.0 <= shifted.high
    assert shifted.separable
    assert not gap[frozenset(("toy shift=0.0", "toy shift=0.02"))].separable
    assert any(
        s.startswith("Best by exact log p: ") and "not separable from it" in s
        for s in compared.sentences
    )


def test_the_frechet_distance_of_a_shifted_law_is_the_square_of_the_shift(compared):
    """In units of the training rows' own spread, which is 1: 1 in each of two columns, beside a bias of some 1 / 60."""
    apart = compared.row("toy shift=1.0").cells["frechet"]
    assert apart.low <= 2.0 <= apart.high + 0.3
    assert compared.row("truth").cells["frechet"].value < 0.5 < apart.low


def test_unlike_kinds_are_never_in_one_ranking(compared):
    by_kind = {g.kind: set(g.order) for g in compared.ranking.groups if g.column == "log_prob"}
    assert by_kind["lower bound"] == {"toy kind=1"}
    assert "toy kind=1" not in by_kind["exact"]
    assert any("are not ranked against each other" in s for s in compared.sentences)


def test_resampled_training_rows_lose_by_the_audit(compared):
    row = compared.row("resampled")
    assert row.copies
    assert row.cells["duplicates"].value == 1.0
    assert row.cells["distance_ratio"].value == 0.0
    assert not row.cells["log_prob"]
    assert all("resampled" not in g.order for g in compared.ranking.groups)
    assert [r.name for r in compared.rows if r.copies] == ["resampled"]


def test_every_number_has_an_interval_but_p_values_and_single_timings(compared):
    for row in compared.rows:
        for key, cell in row.cells.items():
            if cell and key != "copies_p_value":
                assert cell.low <= cell.value <= cell.high, (row.name, key)
            elif not cell:
                assert cell.why


def test_validation_and_test_rows_are_apart_and_each_their_share(compared):
    parts = compared.split.train.batch.ids, compared.split.valid.batch.ids, compared.split.test.ids
    assert sum(map(len, parts)) == 600 == len(torch.cat(parts).unique())
    assert 30 <= len(parts[1]) <= 85


class Cells(HTMLParser):
    """Every number a page's cells carry, and what else of it needs a look."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[tuple[str, float, float | None, float | None]] = []
        self.facts, self.inside, self.addresses = "", False, []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "data-column" in found and "data-value" in found:
            ends = [float(found[k]) if k in found else None for k in ("data-low", "data-high")]
            self.cells.append((found["data-column"], float(found["data-value"]), *ends))
        self.inside = found.get("id") == "facts"
        self.addresses += [v for k, v in attrs if k in {"src", "href"}]

    def handle_data(self, data):
        self.facts += data if self.inside else ""

    def handle_endtag(self, tag):
        self.inside = False


def test_the_page_holds_the_json_numbers_and_nothing_from_a_network(compared, tmp_path):
    html = compared.save(tmp_path / "report.html").read_text(encoding="utf-8")
    facts = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert facts == json.loads(compared.to_json())
    seen = Cells()
    seen.feed(html)
    assert json.loads(seen.facts) == facts
    told = [
        (k, n["value"], n["low"], n["high"])
        for r in facts["rows"] if not r["failure"]
        for k, n in r["numbers"].items() if "value" in n
    ]  # fmt: skip
    assert sorted(seen.cells, key=repr) == sorted(told, key=repr)
    assert all(a.startswith("data:image/png;base64,") for a in seen.addresses)
    assert not re.search(r"https?://", html)
    for sentence in compared.sentences:
        assert sentence.replace("'", "&#x27;") in html
    assert "the toy broke" in html


def test_every_triangle_says_its_three_numbers_with_their_intervals(compared):
    section = page(compared.exhibits()).split('id="trilemma"', 1)[1].split("</section>", 1)[0]
    number = r"-?[\d,.]+ \(\S+ to \S+\)"
    said = re.findall(rf"density {number} · coverage {number} · {number} samples/s", section)
    drawn = [r for r in compared.rows if r.cells["density"] and r.cells["rate_many"]]
    assert len(said) == len(drawn) == section.count("<svg") >= 6
    assert section.count('stroke-width="5"') == 3 * len(drawn)  # a stroke over each interval


def test_the_best_depends_on_the_question():
    def row(name: str, log_p: float, coverage: float, rate: float) -> SimpleNamespace:
        cells = {c.key: absent("not asked") for c in COLUMNS}
        ends = {"log_prob": (log_p, 0.01), "coverage": (coverage, 0.01), "c2st": (1.2 - coverage, 0.01),
                "rate_many": (rate, 1.0)}  # fmt: skip
        cells |= {k: measured(normal_interval(value, error)) for k, (value, error) in ends.items()}
        items = log_p + torch.linspace(-1, 1, 100)[None].double()
        return SimpleNamespace(name=name, role="family", failure="", kind=Kind.EXACT, measure="lebesgue^2",
                               cells=cells, copies=False, log_prob=items)  # fmt: skip

    rows = [
        row("flow", -1.0, 0.8, 900.0),
        row("wide", -2.0, 0.9, 500.0),
        row("quick", -3.0, 0.2, 9000.0),
    ]
    orders = {g.column: g.order for g in rank(rows, 0.95).groups}
    assert orders["log_prob"] == ("flow", "wide", "quick")
    assert orders["coverage"] == orders["c2st"] == ("wide", "flow", "quick")
    assert orders["rate_many"] == ("quick", "flow", "wide")


def test_the_machine_has_no_name(compared):
    import platform

    assert platform.node() not in json.dumps(compared.protocol["machine"])


def test_a_wrong_name_or_option_stops_before_anything_is_fitted():
    told = []
    with pytest.raises(BadConfig, match="did you mean 'flow'"):
        lk.compare("moons", ["flwo"], budget=1, progress=told.append)
    with pytest.raises(BadConfig, match="there is no option 'component'"):
        lk.compare("moons", [("mixture", {"component": 3})], budget=1, progress=told.append)
    assert told == []


def test_a_family_that_refuses_the_data_is_a_row():
    found = lk.compare(world("bayes_net"), "gaussian", budget=1, seeds=1, options=QUICK)
    assert "no density on named categories" in found.row("gaussian").failure
    independent, truth = (
        found.row("independent").cells["bits_per_dim"],
        found.row("truth").cells["bits_per_dim"],
    )
    assert truth.value < independent.value
    expected = world("bayes_net").entropy / (5 * math.log(2))
    assert truth.low <= expected <= truth.high


def test_the_terminal_table_has_a_line_a_row(compared):
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(compared.table())
    text = console.export_text()
    assert all(r.name in text for r in compared.rows)
    assert "failed" in text


def test_labels_are_given_to_all_rows_alike():
    found = lk.compare(
        world("ring", given="label", classes=2), [], budget=1, seeds=1, options=QUICK
    )
    truth, mine = found.row("truth"), found.row("gaussian")
    assert truth.cells["log_prob"].value > mine.cells["log_prob"].value
    drawn, label = found.drawn["resampled"], found.split.train.batch
    rows = [int(((label.x - x).abs().sum(-1)).argmin()) for x in drawn.x]
    assert torch.equal(label.given.x[rows].flatten().double(), drawn.given.x.flatten().double())
