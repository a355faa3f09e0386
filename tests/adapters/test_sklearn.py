"""scikit-learn's own checks of estimators, and what its users do with them: pipelines, searches, frames with holes."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from likeness.adapters.sklearn import Anomalies, Classifier, Clusters, Codes, Density

ESTIMATORS = [
    Density("mixture", options={"components": 3}),
    Density("kde"),
    Clusters(3),
    Classifier(),
    Classifier("gaussian", options={"classes": "own", "shrinkage": 0.1}),
    Codes(),
    Anomalies("gaussian", options={"shrinkage": 0.1}),
]
RANDOM = {
    "check_sample_weight_equivalence_on_dense_data": "starts are drawn row by row: repeated rows draw others"
}


def expected(estimator):
    return RANDOM if type(estimator) is Clusters else {}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected)
def test_scikit_learns_own_checks(estimator, check) -> None:
    check(estimator)


def test_a_density_is_searched_over_and_agrees_with_a_peer() -> None:
    x = StandardScaler().fit_transform(load_iris().data)
    found = GridSearchCV(Density(), {"options": [{"components": k} for k in (1, 2, 30)]}, cv=3).fit(
        x
    )
    assert found.best_params_["options"]["components"] in (1, 2)
    one = Density("gaussian").fit(x)
    theirs = GaussianMixture(1, reg_covar=0).fit(x).score_samples(x)
    np.testing.assert_allclose(one.score_samples(x), theirs, rtol=0, atol=1e-6)
    drawn = one.sample(4000, random_state=0)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(x.T), atol=0.12)
    assert np.array_equal(one.sample(3, random_state=0), drawn[:3])


def test_clusters_are_the_species_of_irises_as_far_as_a_peer_finds_them() -> None:
    x, y = load_iris(return_X_y=True)
    mine = Clusters(3, options={"restarts": 10}).fit_predict(x)
    assert adjusted_rand_score(y, mine) > 0.85


@pytest.mark.slow
def test_a_classifier_takes_holes_where_others_need_them_filled() -> None:
    x, y = load_wine(return_X_y=True)
    holed = np.where(np.random.default_rng(0).random(x.shape) < 0.3, np.nan, x)
    lda = Classifier(options={"kind": "lda"})
    assert cross_val_score(lda, x, y, cv=5).mean() > 0.95
    assert cross_val_score(lda, holed, y, cv=5).mean() > 0.9
    tilted = Classifier(options={"kind": "lda"}, priors=[1, 1, 1000]).fit(x, y)
    assert (tilted.predict(x) == 2).sum() > (lda.fit(x, y).predict(x) == 2).sum()


def test_codes_stand_in_a_pipeline_and_keep_names() -> None:
    data = load_breast_cancer(as_frame=True)
    codes = Codes(options={"components": 5, "noise": "diagonal"})
    pipe = make_pipeline(
        StandardScaler().set_output(transform="pandas"), codes, LogisticRegression()
    )
    assert cross_val_score(pipe, data.data, data.target, cv=3).mean() > 0.93
    pipe.fit(data.data, data.target)
    assert list(pipe[1].feature_names_in_) == list(data.data.columns)
    assert list(pipe[1].get_feature_names_out()) == [f"codes{i}" for i in range(5)]
    assert pipe[1].model_.space.names == tuple(data.data.columns)
    back = pipe[1].inverse_transform(pipe[:-1].transform(data.data))
    assert np.square(back - np.asarray(pipe[0].transform(data.data))).mean() < 0.25


def test_anomalies_are_found_and_counted_at_their_share() -> None:
    g = np.random.default_rng(0)
    x = np.concatenate([g.normal(size=(380, 4)), g.uniform(-8, 8, size=(20, 4))])
    found = Anomalies("mixture", options={"components": 1}, contamination=0.05).fit(x)
    assert (found.predict(x) == -1).mean() == pytest.approx(0.05, abs=0.01)
    assert roc_auc_score(np.arange(400) >= 380, -found.score_samples(x)) > 0.97


def test_a_frame_may_have_holes_and_another_order_is_refused() -> None:
    frame = pd.DataFrame(load_iris().data, columns=list("abcd"))
    frame.loc[::3, "b"] = np.nan
    model = Density("pca", options={"components": 2}).fit(frame)
    assert np.isfinite(model.score_samples(frame)).all()
    with pytest.raises(ValueError, match="feature names"):
        model.score_samples(frame[list("dcba")])
    with pytest.raises(ValueError, match="infinity"):
        model.score_samples(frame.fillna(np.inf))


def test_what_a_family_refuses_is_said_and_nothing_of_a_copy_is_learned() -> None:
    with pytest.raises(ValueError, match=r"no family 'mixtur'.*mixture"):
        Density("mixtur").fit(load_iris().data)
    with pytest.raises(ValueError, match="component"):
        Density(options={"component": 3}).fit(load_iris().data)
    original = Density("mixture", options={"components": 2})
    copy = clone(original).fit(load_iris().data)
    assert not hasattr(original, "model_")
    assert copy.model_.dtype is torch.float64


def test_codes_that_are_no_categories_are_no_clusters() -> None:
    with pytest.raises(ValueError, match="codes of pca are no clusters"):
        Clusters(2, family="pca").fit(load_iris().data)
