"""Numbers mean what the user means by them: labels and levels in arrays are those of frames, and no codes."""

import numpy as np
import pandas as pd
import pytest
import torch

import likeness as lk
from likeness.core.errors import BadData
from likeness.core.space import Ordinal
from likeness.data.frames import to_frame

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("names", [(-1, 1), (1, 300)])
def test_numbers_given_are_the_users_labels(names):
    low, high = names
    side = RNG.random(300) < 0.5
    x = RNG.normal(size=(300, 2)) + np.where(side, 3, -3)[:, None]
    model = lk.fit("gaussian", x, given=np.where(side, high, low))
    rows, truth = np.full((2, 2), 3.0), [f"{low}", f"{high}"]
    told = model.log_prob(rows, given=truth).value
    assert told[1] > told[0] + 20
    for given in ([low, high], np.array(names, float), torch.tensor(names), pd.Series(names)):
        assert torch.equal(model.log_prob(rows, given=given).value, told)
    with pytest.raises(BadData, match="'0' is no category"):
        model.log_prob(rows, given=[0, high])
    drawn = model.sample(50, given=[high, low], seed=0).x.mean((0, 2))
    assert drawn[0] > 2 > -2 > drawn[1]


def test_truth_values_given_are_the_labels_of_truth_values():
    side = np.arange(200) % 2 == 0
    frame = pd.DataFrame({"x": RNG.normal(size=200) + 5 * side, "side": side})
    for model in (
        lk.fit("gaussian", frame[["x"]], given=side),
        lk.fit("gaussian", frame, given="side"),
    ):
        near = model.log_prob([[5.0], [5.0]], given=[True, False]).value
        assert near[0] > near[1] + 5
        assert torch.equal(
            model.log_prob([[5.0], [5.0]], given=np.array([True, False])).value, near
        )


def test_an_array_of_a_frames_rows_is_the_frame():
    frame = pd.DataFrame(
        {
            "rating": RNG.integers(1, 6, 300),
            "age": RNG.normal(size=300),
            "to": RNG.integers(10, 15, 300),
        }
    )
    frame["rating"] = frame["rating"].where(frame["rating"] != 2, 1)
    model = lk.fit("independent", frame)
    asked = frame.head(20)
    truth = model.log_prob(asked).value
    assert len(set(truth.tolist())) > 4
    array = asked.to_numpy()
    for same in (array, array.astype(object), array.tolist(), torch.from_numpy(array), list(array)):
        assert torch.equal(model.log_prob(same).value, truth)
    assert torch.equal(model.log_prob(array[0]).value, truth[:1])
    with pytest.raises(BadData, match=r"0 is not one of the levels 1\.\.5.*row 0, column 'rating'"):
        model.log_prob([[0, 0.0, 10]])
    holed = np.where(np.arange(3) == 0, np.nan, array)
    gaps = asked.assign(rating=np.nan)
    assert torch.equal(model.log_prob(holed).value, model.log_prob(gaps).value)


def test_draws_are_rows_of_their_law():
    frame = pd.DataFrame({"rating": RNG.integers(1, 6, 200), "kind": RNG.choice(["a", "b"], 200)})
    model = lk.fit("independent", frame)
    drawn = model.sample(20, seed=0)
    assert torch.equal(model.log_prob(drawn).value, model.log_prob(drawn.to_pandas()).value)
    assert torch.equal(
        model.log_prob(drawn).value, model.log_prob(drawn.to_pandas().to_numpy()).value
    )


@pytest.mark.parametrize("values", [[-1, 1], [-1, 0, 1], [-1, 0]])
@pytest.mark.parametrize("shape", [(200, 3), (200, 4, 4)])
def test_spins_and_votes_keep_their_minus_one(values, shape):
    x = RNG.choice(values, size=shape)
    data = lk.load(x, test=0)
    assert data.space.variables == (Ordinal(levels=3, start=-1),)
    assert data.train.batch.full
    back = to_frame(data.space, data.train.batch).to_numpy()
    assert np.array_equal(back, x.reshape(200, -1))


def test_spins_are_learned_and_drawn():
    model = lk.fit("independent", RNG.choice([-1, 1], size=(400, 2)))
    drawn = model.sample(400, seed=0).to_pandas().to_numpy()
    assert abs((drawn == -1).mean() - 0.5) < 0.1
    assert float(model.log_prob([[-1, 1]]).value.exp()) == pytest.approx(0.25, abs=0.05)
    with pytest.raises(BadData, match="-1 and 1 are not 0 and 1"):
        lk.load(RNG.choice([-1, 1], size=(40, 2)), columns="binary")


def test_a_frame_that_holds_the_condition_is_scored_under_it():
    label = RNG.integers(0, 5, 400)
    frame = pd.DataFrame({"z": RNG.normal(size=400) + 20 * label, "lab": [f"c{k}" for k in label]})
    model = lk.fit("gaussian", frame, given="lab")
    under = model.log_prob(frame[["z"]], given=frame[["lab"]]).value
    assert torch.equal(model.log_prob(frame).value, under)
    assert torch.equal(model.log_prob(frame.to_dict("records")).value, under)
    assert torch.equal(lk.query(model, "log_prob", evidence=frame).value, under)
    assert not torch.allclose(model.log_prob(frame[["z"]]).value, under, atol=0.5)
    other = model.log_prob(frame, given=["c0"] * 400).value
    assert torch.equal(other, model.log_prob(frame[["z"]], given=["c0"] * 400).value)
    holed = frame.assign(lab=frame["lab"].where(frame["lab"] != "c1"))
    assert torch.equal(model.log_prob(holed).value[label != 1], under[label != 1])
    assert torch.equal(model.classify(frame).logits, model.classify(frame[["z"]]).logits)
