"""Do probes read what is there, as well as the oracles do, and no more? And do their intervals say how sure that is?"""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from repgeo.probes import (
    accuracy,
    code_length,
    cross_entropy,
    entropy,
    knn,
    logistic,
    mlp,
    over_splits,
    rbf,
    ridge,
)

KEY = jax.random.key(0)
PROBES = {
    "ridge": ridge,
    "logistic": logistic,
    "rbf": partial(rbf, features=200),
    "mlp": partial(mlp, hidden=32, epochs=40, batch=50),
    "knn": knn,
}


def classes(seed=0, n=300, p=8, c=3, gap=1.0):
    """Overlapping classes with a mean each, in correlated features off the origin."""
    random = np.random.default_rng(seed)
    y = np.concatenate([np.arange(c), random.integers(0, c, n - c)])
    x = (random.normal(size=(n, p)) + gap * random.normal(size=(c, p))[y]) @ random.normal(size=(p, p)) + 5
    return x.astype(np.float32), y


def ring(seed=0, n=400):
    """A disc in a ring: no line tells them apart."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = random.normal(size=(n, 2))
    return ((0.5 + y + 0.15 * random.random(n))[:, None] * x / np.linalg.norm(x, axis=1, keepdims=True)), y


def standard(x):
    x = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    return x / np.sqrt((x**2).mean(0).mean())


@pytest.mark.parametrize("c", [2, 3])
@pytest.mark.parametrize("l2", [1e-1, 1e-4])
def test_logistic_regression_is_that_of_scikit_learn(c, l2):
    x, y = classes(c=c)
    oracle = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-10, max_iter=10_000).fit(standard(x), y)
    right = oracle.predict_log_proba(standard(x))
    if c == 2:  # scikit-learn's one weight a feature is the difference of two, whose penalty is twice that of it
        oracle = LogisticRegression(C=2 / (l2 * len(x)), tol=1e-10, max_iter=10_000).fit(standard(x), y)
        right = oracle.predict_log_proba(standard(x))
    probe = logistic(x, y, l2=l2)
    assert float(probe.gradient) < 1e-4
    np.testing.assert_allclose(jax.nn.softmax(probe.scores(x), 1), np.exp(right), atol=2e-3)
    with jax.enable_x64(True):
        probe = logistic(x.astype(np.float64), y, l2=l2, tolerance=1e-9)
        np.testing.assert_allclose(jax.nn.log_softmax(probe.scores(x), 1), right, atol=1e-5, rtol=1e-5)
        assert float(probe.gradient) < 1e-9


def test_separable_classes_and_features_of_any_scale_converge():
    x, y = classes(gap=40.0)
    assert len(set(y[:50])) == 3
    for scale in (1e-6, 1.0, 1e6):
        probe = logistic(x * np.float32(scale), y)
        assert float(probe.gradient) < 1e-4 and float(accuracy(probe, x * np.float32(scale), y)) == 1
    uneven = x * np.logspace(-3, 3, x.shape[1]).astype(np.float32)
    assert float(logistic(uneven, y).gradient) < 1e-4


def test_logistic_regression_that_stops_early_says_so():
    x, y = classes()
    with pytest.warns(UserWarning, match=r"logistic stopped after \d+ steps at a gradient of .* raise l2"):
        logistic(x, y, tolerance=1e-12)


def test_ridge_is_the_normal_equation():
    x, y = classes()
    z, a = np.eye(3)[y], standard(x)
    weights = np.linalg.solve(a.T @ a / len(a) + 1e-3 * np.eye(8), a.T @ (z - z.mean(0)) / len(a))
    np.testing.assert_allclose(ridge(x, y).scores(x), a @ weights + z.mean(0), atol=1e-4)


@pytest.mark.parametrize("k", [1, 7, 15])
def test_nearest_neighbours_are_exact(k):
    x, y = classes(n=700)
    probe = knn(x[:400], y[:400], k=k)
    shares = KNeighborsClassifier(k, algorithm="brute").fit(x[:400], y[:400]).predict_proba(x[400:])
    np.testing.assert_allclose(np.exp(probe.scores(x[400:])) * (k + 3) - 1, shares * k, atol=1e-4)


def test_random_cosines_stand_for_the_kernel():
    x, y = classes(n=60)
    probe = rbf(x, y, key=KEY, features=1000, l2=1.0, tolerance=1e-2)
    cosines = np.cos((x - np.asarray(probe.center)) @ np.asarray(probe.frequencies) + np.asarray(probe.phases))
    square = ((x[:, None] - x[None]) ** 2).sum(-1)
    error = 2 * cosines @ cosines.T / 1000 - np.exp(-square / x.var(0).sum())
    assert np.sqrt(np.mean(error**2)) < 0.04 and abs(error.mean()) < 0.02  # 1000 draws of deviation about 0.8


def test_what_is_not_linear_is_read_by_the_probes_that_are_not():
    x, y = ring()
    for name, probe in PROBES.items():
        score = over_splits(probe, x, y, key=KEY, splits=3)
        if name in ("ridge", "logistic"):
            assert score.mean < 0.65, name
        else:
            assert score.low > 0.9, name


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_is_called_alike_and_is_a_tree(name):
    x, y = classes(gap=3.0)
    probe = PROBES[name](x[:200], y[:200], classes=4, key=KEY)
    assert probe.scores(x[200:]).shape == (100, 4)
    assert float(accuracy(probe, x[200:], y[200:])) > 0.8
    through = jax.jit(lambda probe, x: probe.scores(x))(probe, x[200:])
    np.testing.assert_allclose(through, probe.scores(x[200:]), rtol=1e-4, atol=1e-4)
    again = PROBES[name](x[:200], y[:200], classes=4, key=KEY)
    np.testing.assert_array_equal(again.scores(x), probe.scores(x))


@pytest.mark.parametrize("name", ["ridge", "logistic", "knn"])
def test_probes_fit_under_vmap(name):
    x, y = classes(n=60)
    batch = jnp.stack([x, 2 * x[::-1]])
    scores = jax.vmap(lambda x: PROBES[name](x, y, classes=3).scores(x))(batch)
    for i in range(2):
        np.testing.assert_allclose(scores[i], PROBES[name](batch[i], y).scores(batch[i]), atol=2e-2)


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"y": np.zeros(30, int)}, ValueError, "y: expected at least two classes; got 30 rows of class 0"),
        ({"y": np.arange(30) % 3 - 1}, ValueError, r"y: expected classes 0 \.\.\. 1; got labels from -1 to 1"),
        ({"y": np.arange(30) % 3, "classes": 2}, ValueError, r"y: expected classes 0 \.\.\. 1; got .* from 0 to 2"),
        ({"y": np.arange(30) / 3}, TypeError, "y: expected classes as integers or booleans; got dtype float64"),
        ({"y": np.arange(29) % 2}, ValueError, r"x and y: expected one class a row; got .*\(30, 4\) and \(29,\)"),
        ({"x": np.full((30, 4), np.nan)}, ValueError, "x: expected finite values"),
        ({"x": np.ones((30, 4))}, ValueError, "x: expected rows that differ"),
        ({"x": np.ones(30)}, ValueError, "x: expected a matrix"),
    ],
)
def test_bad_input_gives_one_clear_error(name, change, error, message):
    given = {"x": np.random.default_rng(0).normal(size=(30, 4)), "y": np.arange(30) % 2, "key": KEY} | change
    with pytest.raises(error, match=message):
        PROBES[name](given.pop("x"), given.pop("y"), **given)


def test_options_that_do_not_fit_give_one_clear_error():
    x, y = classes(n=30)
    for call, message in (
        (lambda: logistic(x, y, l2=0), "l2: expected a finite number in \\(0"),
        (lambda: knn(x, y, k=31), "k: expected 1 <= k <= 30 \\(fitted rows\\); got 31"),
        (lambda: rbf(x, y, key=KEY, features=0), "features: expected 1 <= features"),
        (lambda: mlp(x, y, key=KEY, hidden=0), "hidden: expected 1 <= hidden"),
        (lambda: ridge(x, y).scores(x[:, :3]), r"x: expected 8 features, .* \(30, 3\)"),
        (lambda: over_splits(ridge, x, y, key=KEY, splits=1), "splits: expected 2 <= splits"),
        (lambda: over_splits(ridge, x, y, key=KEY, held_out=1.0), "held_out: expected a share that leaves rows"),
        (lambda: over_splits(ridge, x, y, key=KEY, level=1), "level: expected"),
        (lambda: code_length(ridge, x[:8], y[:8] % 2, key=KEY), "x: expected rows for two blocks after"),
        (lambda: jax.jit(ridge)(x, y), "classes: expected their number; got None"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_an_interval_over_splits_is_the_corrected_t_and_contains_its_mean():
    x, y = classes(gap=0.7)
    score = over_splits(ridge, x, y, key=KEY, splits=6, held_out=0.25)
    values = np.array(score.values)
    reach = student.ppf(0.975, 5) * values.std(ddof=1) * np.sqrt(1 / 6 + 75 / 225)
    np.testing.assert_allclose((score.mean, score.low, score.high), (values.mean(), *(values.mean() + [-reach, reach])))
    assert len(set(score.values)) > 1
    assert over_splits(ridge, x, y, key=KEY, splits=6, held_out=0.25) == score
    assert over_splits(ridge, x, y, key=jax.random.key(1), splits=6, held_out=0.25).values != score.values


def test_shuffled_labels_are_read_no_better_than_the_majority():
    x, y = classes(n=600)
    y = np.random.default_rng(1).permutation(np.where(y == 2, 0, y))
    for name in ("ridge", "logistic", "knn"):
        score = over_splits(PROBES[name], x, y, key=KEY)
        assert score.low < score.majority + 0.02 and score.mean < score.majority + 0.03, name


def test_the_interval_covers_the_accuracy_on_all_rows_to_come():
    covered = 0
    for seed in range(20):
        x, y = classes(seed=7, n=2300, p=5, c=2, gap=0.4)
        rows = np.random.default_rng(seed).permutation(len(x))
        x, y = x[rows], y[rows]
        score = over_splits(ridge, x[:300], y[:300], key=jax.random.key(seed))
        covered += score.low <= float(accuracy(ridge(x[:210], y[:210]), x[300:], y[300:])) <= score.high
    assert covered >= 16


def test_labels_cost_their_entropy_where_there_is_nothing_to_read_and_less_where_there_is():
    x, y = classes(n=320, c=2, gap=3.0)
    blind = np.random.default_rng(0).permutation(y)
    bits = {name: code_length(partial(logistic, l2=1e-1), x, labels, key=KEY, blocks=4) for name, labels in
            (("planted", y), ("shuffled", blind))}
    assert bits["planted"] < 0.5 * entropy(y) / np.log(2) < entropy(y) / np.log(2) < bits["shuffled"] < 1.3


def test_cross_entropy_is_that_of_the_softmax():
    x, y = classes()
    probe = logistic(x, y)
    log_p = np.asarray(jax.nn.log_softmax(probe.scores(x), 1))
    np.testing.assert_allclose(cross_entropy(probe, x, y), -log_p[np.arange(300), y].mean(), rtol=1e-5)
    shares = np.bincount(y) / 300
    np.testing.assert_allclose(entropy(y), -(shares * np.log(shares)).sum())
    assert entropy([1, 1], classes=3) == 0


def test_probes_import_no_optimiser_before_a_network_is_trained():
    code = "import sys, repgeo.probes; print('optax' in sys.modules, 'scipy.stats' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
