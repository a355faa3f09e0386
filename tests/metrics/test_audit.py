"""The audit finds one planted copy in a hundred, and leaves clean models alone."""

import pytest
import torch

from likeness.metrics import distance
from likeness.metrics.audit import (
    copies_p_value,
    median_ratio,
    membership_auroc,
    memorisation_audit,
)

REPEATS, ITEMS, TRAIN = 100, 600, 1500


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(seed, *shape):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def mixed_table(seed, n):
    """Three correlated real columns and a nominal one of five categories, one-hot."""
    code = torch.randint(0, 5, (n,), generator=generator(seed + 10**6))
    real = (
        normal(seed, n, 3) @ torch.tensor([[1, 0.5, 0], [0, 1, 0.5], [0, 0, 1]]).double()
        + code[:, None]
    )
    return torch.cat([real, torch.nn.functional.one_hot(code, 5)], 1)


def plane(seed, n):
    return normal(seed, n, 2)


def many_columns(seed, n):
    return normal(seed, n, 30)


def p_value(generated, train, held_out):
    near, near_held = (distance.nearest(x, train, k=2)[0] for x in (generated, held_out))
    return copies_p_value(*(d[:, 0] / d[:, 1] for d in (near, near_held)))


def p_values(law, scale, share):
    """One p-value per repeat, of a model that draws from the law, shrunk by `scale`, and copies some items."""
    found = []
    for r in range(REPEATS):
        train, held_out, generated = (
            law(3 * r, TRAIN),
            law(3 * r + 1, ITEMS),
            law(3 * r + 2, ITEMS) * scale,
        )
        copies = int(share * ITEMS)
        generated[:copies] = train[:copies]
        found.append(p_value(generated, train, held_out))
    return torch.tensor(found)


@pytest.mark.parametrize("law", [plane, mixed_table, many_columns])
def test_one_copy_in_a_hundred_is_found(law):
    assert (p_values(law, 1.0, 0.01) <= 0.05).double().mean() >= 0.95


@pytest.mark.parametrize(
    ("law", "scale"), [(plane, 1.0), (mixed_table, 1.0), (many_columns, 1.0), (many_columns, 0.9)]
)
def test_a_clean_model_is_left_alone_also_where_it_keeps_to_the_middle(law, scale):
    alarms = int((p_values(law, scale, 0.0) <= 0.05).sum())
    assert alarms <= 0.05 * REPEATS + 3 * (0.05 * 0.95 * REPEATS) ** 0.5


def test_the_p_value_is_exact_by_simulation():
    # exchangeable ratios with an atom at 0: P(p <= a) <= a
    found = []
    for r in range(2000):
        ratio = torch.rand(90, generator=generator(r))
        ratio = torch.where(ratio < 0.03, 0.0, ratio)
        found.append(copies_p_value(ratio[:40], ratio[40:]))
    for level in (0.01, 0.05, 0.2):
        assert (torch.tensor(found) <= level).double().mean() <= level + 3 * (level / 2000) ** 0.5


def test_the_report_names_the_copies():
    train, held_out, generated = mixed_table(0, TRAIN), mixed_table(1, ITEMS), mixed_table(2, ITEMS)
    generated[torch.arange(6) * 100] = train[torch.arange(6) * 7]
    audit = memorisation_audit(generated, train, held_out, seed=0, draws=200)
    assert audit.copies
    assert {(pair.generated, pair.train) for pair in audit.worst[:6]} == {
        (100 * i, 7 * i) for i in range(6)
    }
    assert (
        all(pair.distance == 0 for pair in audit.worst[:6])
        and audit.worst[6].ratio > 0
        and len(audit.worst) == 50
    )
    assert audit.duplicates.value == 0.01 and audit.duplicates_held_out.value == 0
    assert audit.distance_ratio is not None and 1.0 in audit.distance_ratio
    assert audit == memorisation_audit(generated, train, held_out, seed=0, draws=200)


def test_noisy_copies_within_the_tolerance_are_copies():
    train, held_out, generated = plane(0, TRAIN), plane(1, ITEMS), plane(2, ITEMS)
    generated[:6] = train[:6] + 1e-6
    audit = memorisation_audit(generated, train, held_out, seed=0, draws=50, tolerance=1e-5)
    assert audit.duplicates.value == 0.01 and audit.copies


def test_an_overfitted_model_is_flagged_and_a_larger_training_set_is_not():
    def audit(n):
        train, held_out = many_columns(3, n), many_columns(4, ITEMS)
        row = torch.randint(0, n, (ITEMS,), generator=generator(5))
        kernel = (
            0.3 if n == 50 else 1.0
        )  # a model that smooths its training items, or one that draws afresh
        fresh = normal(6, ITEMS, 30)
        return memorisation_audit(
            train[row] + kernel * fresh if n == 50 else fresh, train, held_out, seed=0, draws=200
        )

    over, fair = audit(50), audit(5000)
    assert over.copies and over.distance_ratio is not None and over.distance_ratio.high < 0.5
    assert over.membership.low > 0.95
    assert not fair.copies and fair.distance_ratio is not None and 1.0 in fair.distance_ratio
    assert 0.5 in fair.membership


def test_discrete_data_repeat_themselves_without_alarm():
    def bits(seed, n):
        return torch.randint(0, 2, (n, 6), generator=generator(seed))

    audit = memorisation_audit(bits(0, 1000), bits(1, 1000), bits(2, 1000), seed=0, draws=50)
    assert audit.duplicates.value == audit.duplicates_held_out.value == 1
    assert audit.copies_p_value == 1 and audit.distance_ratio is None


def test_ratio_of_medians_covers():
    def covers(r):
        found = median_ratio(
            normal(2 * r, 100).exp() * 0.8, normal(2 * r + 1, 100).exp(), seed=r, draws=200
        )
        return found is not None and 0.8 in found

    assert sum(covers(r) for r in range(200)) / 200 == pytest.approx(0.95, abs=0.05)


def test_membership_of_a_copying_model_is_certain():
    train, held_out = plane(7, 200), plane(8, 200)
    assert membership_auroc(train, train, held_out, seed=0, draws=50).value == 1
