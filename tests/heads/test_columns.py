"""Heads over whole events: layouts, holes, single columns, many products at once."""

import pytest
import torch

from likeness.core.answers import Kind
from likeness.core.batch import Batch
from likeness.core.noise import Noise
from likeness.core.space import (
    Count,
    Nominal,
    Ordinal,
    Real,
    Space,
    image,
    sequence,
    series,
    vector,
)
from likeness.heads import Columns, rows
from tests.heads.cases import normals, uniforms

TABLE = vector(
    8,
    (
        Real(),
        Nominal(categories=3),
        Count(),
        Real(resolution=0.5),
        Ordinal(levels=2),
        Ordinal(levels=40),
        Real(),
        Nominal(categories=20),
    ),
)
SPACES = {
    "table": TABLE,
    "reals": vector(3),
    "image": image(2, 3, 4),
    "binary image": image(1, 3, 4, levels=2),
    "symbols": sequence(5, 6),
    "series": series(3, 4),
    "audio": Space(axes=("channel", "time"), shape=(1, 5), variables=(Real(),)),
    "counts": vector(4, Count()),
}


def events(space, n, seed=0):
    """Items that lie in a Space, some entries of them hidden."""
    u = uniforms(n, *space.layout, seed=seed)
    tops = torch.tensor(
        [0.0 if v.type == "real" else min(v.states, 9.0) for v in space.columns], dtype=u.dtype
    )
    grid = torch.tensor(
        [getattr(v, "resolution", None) or 0.0 for v in space.columns], dtype=u.dtype
    )
    tops, grid = (t[0] if t.numel() == 1 else t for t in (tops, grid))
    x = torch.where(tops > 0, (u * tops).floor(), 7 + 2 * torch.special.ndtri(u.clamp(min=1e-9)))
    x = torch.where(grid > 0, (x / grid.clamp(min=0.1)).round() * grid, x)
    observed = uniforms(n, *space.layout, seed=seed + 1) < 0.8
    return Batch(x * observed, observed=observed)


@pytest.fixture(
    params=[(name, kind) for name in SPACES for kind in ("net", "closed")], ids="-".join
)
def fitted(request):
    name, kind = request.param
    columns = Columns(SPACES[name], kind=kind, components=2)
    columns.fit(events(SPACES[name], 200))
    return columns


def place(columns):
    """The axes that parameters have before their last."""
    layout = columns.space.layout
    return layout if columns.narrow else layout[:-1]


def some_params(columns, *leading, seed=2):
    return columns.start() + 0.3 * normals(*leading, *place(columns), columns.size, seed=seed)


def test_shapes_and_owners(fitted):
    batch, params = events(fitted.space, 5), some_params(fitted, 5)
    law = fitted.distribution(params)
    u = uniforms(5, *place(fitted), fitted.uniforms)
    assert law.log_prob(batch.x).shape == batch.x.shape
    assert law.total(batch.x, batch.present).shape == (5,)
    assert law.draw(u).shape == law.mean.shape == law.mode.shape == batch.x.shape
    assert fitted.embed(batch.x, batch.present).shape == (5, *place(fitted), fitted.features)
    assert law.relaxed(u, 0.5).shape == (5, *place(fitted), fitted.features)
    for owner, size in (
        (fitted.owner, fitted.size),
        (fitted.feature_owner, fitted.features),
        (fitted.uniform_owner, fitted.uniforms),
    ):
        assert owner.shape == (size,)
        assert sorted(set(owner.tolist())) == list(range(fitted.width))


def test_parameters_move_only_the_entry_that_owns_them(fitted):
    batch = events(fitted.space, 1)
    params = some_params(fitted, 1).requires_grad_()
    columns_of_params = torch.nn.functional.one_hot(fitted.owner, fitted.width).bool()
    value = (
        fitted.split(fitted.distribution(params).log_prob(batch.x)).reshape(-1, fitted.width).sum(0)
    )
    for i in range(fitted.width):
        (gradient,) = torch.autograd.grad(value[i], params, retain_graph=True)
        assert float(gradient[..., ~columns_of_params[:, i]].abs().sum()) == 0
        assert float(gradient[..., columns_of_params[:, i]].abs().sum()) > 0


def test_features_move_only_with_the_entry_that_owns_them(fitted):
    batch = events(fitted.space, 30)
    whole = fitted.embed(batch.x)
    for i in range(fitted.width):
        x = fitted.split(batch.x).clone()
        x[..., i] = fitted.split(events(fitted.space, 30, seed=5).x)[..., i]
        changed = (
            (fitted.embed(x.squeeze(-1) if fitted.narrow else x) != whole).flatten(0, -2).any(0)
        )
        assert set(fitted.feature_owner[changed].tolist()) == {i}


def test_hidden_entries_count_for_nothing(fitted):
    batch, law = events(fitted.space, 4), fitted.distribution(some_params(fitted, 4))
    value = law.log_prob(batch.x, batch.present)
    assert float(value[~batch.present].abs().sum()) == 0
    whole = law.log_prob(batch.x)
    torch.testing.assert_close(value[batch.present], whole[batch.present])
    torch.testing.assert_close(law.total(batch.x, batch.present), value.flatten(1).sum(-1))


def test_single_columns_are_the_whole(fitted):
    batch, params = events(fitted.space, 4), some_params(fitted, 4)
    law = fitted.distribution(params)
    u = uniforms(4, *place(fitted), fitted.uniforms)
    x, log_p = fitted.split(law.draw(u)), fitted.split(law.log_prob(batch.x))
    embedded = fitted.embed(batch.x, batch.present)
    for i in range(fitted.width):
        column = fitted.column(i)
        own = column.head.distribution(params[..., column.params].unsqueeze(-2))
        torch.testing.assert_close(
            own.draw(u[..., column.uniforms].unsqueeze(-2))[..., 0], x[..., i]
        )
        value = fitted.split(batch.x)[..., i : i + 1]
        torch.testing.assert_close(own.log_prob(value)[..., 0], log_p[..., i])
        seen = fitted.split(batch.present)[..., i : i + 1]
        torch.testing.assert_close(
            column.head.embed(value, seen)[..., 0, :], embedded[..., column.features]
        )
        assert set(fitted.owner[column.params].tolist()) == {i}


def test_many_products_at_once_are_one_after_the_other(fitted):
    batch, params = events(fitted.space, 6), some_params(fitted, 3)
    together = fitted.distribution(params).each(batch.x, batch.present)
    apart = torch.stack([fitted.distribution(p).total(batch.x, batch.present) for p in params], -1)
    torch.testing.assert_close(together, apart)
    broadcast = fitted.distribution(params).total(batch.x.unsqueeze(1), batch.present.unsqueeze(1))
    torch.testing.assert_close(together, broadcast)


def test_impossible_values_stay_impossible_in_matrix_products():
    columns = Columns(vector(2, Nominal(categories=3)), kind="closed")
    x = torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    one = torch.ones(2, 1, dtype=torch.float64)
    law = columns.distribution(columns.estimate(x, torch.ones_like(x, dtype=torch.bool), one))
    value = law.each(
        torch.tensor([[0.0, 1.0], [2.0, 1.0]]).double(), torch.ones_like(x, dtype=torch.bool)
    )
    torch.testing.assert_close(
        value[:, 0], torch.tensor([-0.6931471805599453, -torch.inf], dtype=torch.float64)
    )


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("real", ("normal", "histogram"))
def test_estimates_beat_their_neighbours(name, real):
    space = SPACES[name]
    columns = Columns(space, kind="closed", real=real)
    batch = events(space, 300)
    columns.fit(batch)
    params = columns.estimate(batch.x, batch.present, uniforms(300, 2, seed=3))
    assert params.shape == (2, *place(columns), columns.size)
    weight = uniforms(300, 2, seed=3)

    def score(p):
        value = columns.distribution(p).each(batch.x, batch.present)
        return (weight * value).sum(0)

    best = score(params)
    for seed in range(5):
        assert bool((score(params + 0.05 * normals(*params.shape, seed=seed)) <= best + 1e-2).all())


@pytest.mark.parametrize("name", SPACES)
def test_fitting_in_chunks_is_fitting_at_once(name):
    batch = events(SPACES[name], 90)
    once, chunked = Columns(SPACES[name]), Columns(SPACES[name])
    once.fit(batch)
    chunked.fit(batch.chunks(17))
    for (key, a), b in zip(once.state_dict().items(), chunked.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=key)


def test_large_data_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr("likeness.heads.columns._FIT_ROWS", 100)
    columns = Columns(vector(1))
    x = torch.arange(10_000, dtype=torch.float64).unsqueeze(-1)
    columns.fit(Batch(x).chunks(37))
    head = columns.parts[0]
    assert abs(float(head.location) / 4999.5 - 1) < 0.02
    assert abs(float(head.scale) / 2886.8 - 1) < 0.02


def test_rows_of_weight_zero_teach_nothing(fitted):
    batch = events(fitted.space, 40)
    padded = Batch(
        torch.cat([batch.x, torch.ones_like(batch.x)]),
        observed=torch.cat([batch.present, torch.ones_like(batch.present)]),
        weight=torch.cat([torch.ones(40), torch.zeros(40)]),
    )
    fitted.fit(batch)
    before = {k: v.clone() for k, v in fitted.state_dict().items()}
    fitted.fit(padded)
    for key, value in fitted.state_dict().items():
        torch.testing.assert_close(value, before[key], msg=key)


def test_pixels_share_their_statistics_and_columns_do_not():
    pixels, table = Columns(image(1, 4, 4)), Columns(vector(3))
    for columns in (pixels, table):
        columns.fit(events(columns.space, 50))
    assert len(set(pixels.parts[0].location.tolist())) == 1
    assert len(set(table.parts[0].location.tolist())) == 3


def test_relaxed_embeddings_end_at_the_draw(fitted):
    law = fitted.distribution(some_params(fitted, 3))
    u = uniforms(3, *place(fitted), fitted.uniforms).clamp(0.02, 0.98)
    torch.testing.assert_close(
        law.relaxed(u, 1e-6), fitted.embed(law.draw(u)), atol=1e-5, rtol=1e-5
    )


def test_single_precision_stays_single(fitted):
    batch, params = events(fitted.space, 3).to(dtype=torch.float32), some_params(fitted, 3).float()
    law = fitted.distribution(params)
    u = uniforms(3, *place(fitted), fitted.uniforms).float()
    answers = (
        law.log_prob(batch.x, batch.present),
        law.draw(u),
        law.mean,
        law.mode,
        law.relaxed(u, 0.5),
    )
    assert {a.dtype for a in (*answers, fitted.embed(batch.x, batch.present))} == {torch.float32}


def test_rows_answer_as_the_law_does():
    columns = Columns(TABLE, components=2)
    columns.fit(events(TABLE, 100))
    params, batch = some_params(columns, 6), events(TABLE, 6)
    law = rows(columns, params, batch.ids, kind=Kind.EXACT, how="decoder")
    torch.testing.assert_close(law.log_prob(batch.x), columns.distribution(params).total(batch.x))
    noise = Noise(3, batch.ids, dtype=torch.float64).draws(2)
    x = law.draw(noise)
    assert x.shape == (12, 8)
    torch.testing.assert_close(
        law[slice(2, 4)].draw(noise[torch.tensor([2, 3, 8, 9])]), x[[2, 3, 8, 9]]
    )
    assert law.sample(3, seed=1).x.shape == (3, 6, 8)
    torch.testing.assert_close(type(law).cat([law[:2], law[2:]]).mean, law.mean)
