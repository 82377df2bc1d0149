"""Probes on vectors, and the measures of classes, beside scikit-learn's."""

import numpy as np
import pytest

from hilum.bench.classes import auroc, average_precision, measures
from hilum.bench.probe import cross_validated, linear, neighbours
from hilum.values.errors import BadInput


def cloud(seed: int = 0, apart: float = 2.0, cases: int = 90, classes: int = 3, dim: int = 8):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, cases)
    centres = rng.normal(0, apart, (classes, dim))
    return centres[labels] + rng.normal(0, 1, (cases, dim)), labels


@pytest.fixture
def scored():
    """Scores with ties, a class that is rare, and one that is never chosen."""
    rng = np.random.default_rng(1)
    truth = rng.choice(4, size=60, p=(0.5, 0.3, 0.15, 0.05))
    scores = rng.random((60, 4)).round(1) + 0.4 * np.eye(4)[truth]
    scores[:, 3] *= 0.2
    return scores / scores.sum(1, keepdims=True), truth


def test_measures_are_scikit_learns(scored):
    metrics = pytest.importorskip("sklearn.metrics")
    scores, truth = scored
    chosen, found = scores.argmax(1), measures(*scored)
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(truth, scores, multi_class="ovr", average="macro"))
    assert found["aupr"] == pytest.approx(
        np.mean([metrics.average_precision_score(truth == k, scores[:, k]) for k in range(4)])
    )
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, chosen))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, chosen, average="macro", zero_division=0))
    assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(truth, chosen))
    assert found["hamming"] == pytest.approx(metrics.hamming_loss(truth, chosen))
    assert found["jaccard"] == pytest.approx(metrics.jaccard_score(truth, chosen, average="macro", zero_division=0))
    assert found["score"] == pytest.approx((found["f1"] + found["auroc"] + found["kappa"]) / 3)


def test_ranks_of_ties_and_of_nothing():
    assert auroc(np.array([1.0, 1.0]), np.array([True, False])) == 0.5
    assert np.isnan(auroc(np.array([1.0]), np.array([True])))
    assert np.isnan(average_precision(np.array([1.0]), np.array([False])))
    assert average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True])) == pytest.approx((1 + 2 / 3) / 2)


def test_the_linear_probe_is_scikit_learns_logistic_regression():
    models = pytest.importorskip("sklearn.linear_model")
    vectors, labels = cloud()
    known = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-6)
    theirs = models.LogisticRegression(C=1 / (1e-2 * len(labels)), tol=1e-8, max_iter=2000).fit(known, labels)
    ours = linear(vectors, labels, vectors, 3)
    np.testing.assert_allclose(ours, theirs.predict_proba(known), atol=2e-3)


def test_the_nearest_neighbour_of_a_known_vector_is_itself():
    vectors, labels = cloud()
    assert np.array_equal(neighbours(vectors, labels, vectors, 3, count=1).argmax(1), labels)
    votes = neighbours(vectors, labels, vectors, 3, count=7)
    np.testing.assert_allclose(votes.sum(1), 1)


@pytest.mark.parametrize("probe", [linear, neighbours])
def test_what_is_in_the_vectors_is_found_and_what_is_not_is_not(probe):
    vectors, labels = cloud()
    groups = [str(number // 2) for number in range(len(labels))]
    assert cross_validated(probe, vectors, labels, groups).measures["auroc"] > 0.95
    nothing = np.random.default_rng(2).permutation(labels)
    assert abs(cross_validated(probe, vectors, nothing, groups).measures["auroc"] - 0.5) < 0.15


def test_a_group_is_never_on_both_sides():
    seen = []

    def spy(known, labels, asked, classes):
        seen.append((set(known[:, 0]), set(asked[:, 0])))
        return np.full((len(asked), classes), 1 / classes)

    groups = np.repeat(np.arange(7), 4)
    vectors = np.repeat(groups[:, None], 3, axis=1).astype(float)
    cross_validated(spy, vectors, np.arange(28) % 2, groups.tolist(), folds=3)
    assert len(seen) == 3
    assert all(not known & asked for known, asked in seen)


def test_too_little_is_a_sentence():
    vectors, labels = cloud()
    with pytest.raises(BadInput, match="at least two classes"):
        cross_validated(linear, vectors, np.zeros_like(labels), list(range(90)))
    with pytest.raises(BadInput, match="as many labels"):
        cross_validated(linear, vectors, labels[:-1], list(range(90)))
