"""What erasers refuse: every error names the argument, what was expected and what came."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.erasure import (
    as_concept,
    difference_subspace,
    equalize,
    hard_debias,
    leace,
    leace_from,
    mean_projection,
    oracle_leace,
    project_out,
    sal,
    splince,
)

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(12, 4)).astype(np.float32)
Y = np.arange(12) % 3
FITS = {
    "leace": leace,
    "mean_projection": mean_projection,
    "sal": lambda x, y, labels: sal(x, y, labels=labels, rank=1),
    "oracle_leace": oracle_leace,
    "splince": lambda x, y, labels: splince(x, y, np.arange(len(x)) % 2, labels=labels, task_labels="categorical"),
}
BAD = {
    "one class": (X, np.zeros(12, int), "categorical", ValueError, "y: expected values that differ; got 12 rows"),
    "a class twice": (X, np.ones(12, int), "categorical", ValueError, "y: expected values that differ; got 12 rows"),
    "a constant amount": (X, np.full(12, 0.5), "continuous", ValueError, "y: expected values that differ; got 12 rows"),
    "integers as amounts": (X, Y, "continuous", TypeError, "y: expected floats for labels='continuous'; got int"),
    "floats as classes": (X, Y + 0.0, "categorical", TypeError, "y: expected integers or booleans .* float"),
    "a negative class": (X, Y - 1, "categorical", ValueError, r"y: expected classes 0 \.\.\. 1; got labels from -1"),
    "one-hot classes": (X, np.eye(3, dtype=int)[Y], "categorical", ValueError, r"y: .*\(n,\); got shape \(12, 3\)"),
    "another kind": (X, Y, "ordinal", ValueError, "labels: expected one of categorical, continuous; got 'ordinal'"),
    "rows that differ in number": (X, Y[:-1], "categorical", ValueError, "one row per sample .* 12 and 11"),
    "NaN in x": (np.where(X == X[3, 1], np.nan, X), Y, "categorical", ValueError, "x: expected finite .* row 3"),
    "NaN in y": (X, np.where(Y == 0, np.nan, 1.0), "continuous", ValueError, "y: expected finite values"),
    "x of one row": (X[:1], Y[:1], "categorical", ValueError, "x: expected at least 2"),
    "a vector for x": (X[0], Y, "categorical", ValueError, r"x: expected a matrix .* \(4,\)"),
    "equal rows": (np.ones((12, 4)), Y, "categorical", ValueError, "x: expected rows that differ"),
    "complex x": (X * 1j, Y, "categorical", TypeError, "x: expected real numbers; got dtype complex"),
}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_clear_error(fit, case):
    x, y, labels, error, message = BAD[case]
    with pytest.raises(error, match=message):
        FITS[fit](x, y, labels=labels)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: leace(X, Y, labels="categorical", rank=4), "rank: expected 1 <= rank <= 3"),
        (lambda: sal(X, Y, labels="categorical", rank=5), "rank: expected 1 <= rank <= 3"),
        (lambda: sal(X, Y, labels="categorical", rank=0), "rank: expected 1 <= rank"),
        (lambda: leace(X, Y, labels="categorical").transform(X[:, :3]), r"x: expected rows of 4 .* \(12, 3\)"),
        (lambda: leace(X, Y, labels="categorical").transform(X * np.nan), "x: expected finite values"),
        (lambda: project_out(np.zeros((2, 3))), "directions: expected at least one that is not 0"),
        (lambda: project_out(np.eye(3), bias=np.ones(2)), r"bias: expected shape \(3,\)"),
        (lambda: hard_debias(X, X[:, :3]), r"a and b: expected one width"),
        (lambda: hard_debias(X[:2], X[2:4], rank=3), "rank: expected 1 <= rank <= 2"),
        (lambda: hard_debias(X, X + np.eye(4)[0], rank=2), "rank: expected at most 1, as many"),
        (lambda: equalize(X, -X, project_out(np.eye(4)[:2])), "eraser: expected one that removes 1 direction; got 2"),
        (lambda: difference_subspace(X, X, rank=1), "rank: expected at most 0, as many directions as the differences"),
        (lambda: difference_subspace(X, X + 1, rank=4), "rank: expected 1 <= rank <= 3"),
        (lambda: project_out(np.eye(3)).compose(project_out(np.eye(4))), "then: expected an eraser of 3 features"),
        (lambda: as_concept(Y, labels="categorical", classes=2), r"y: expected classes 0 \.\.\. 1; got .* from 0 to 2"),
        (lambda: as_concept(Y + 0.5, labels="continuous", classes=2), "classes: expected none"),
        (lambda: splince(X, Y, Y, labels="categorical", task_labels="categorical"), "task: expected one that"),
        (lambda: jax.jit(lambda y: as_concept(y, labels="categorical"))(Y), "classes: expected their number; got None"),
    ],
)
def test_options_that_do_not_fit_give_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_moments_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="m: expected Moments"):
        leace_from(X)
    with pytest.raises(TypeError, match="then: expected an Eraser; got int"):
        project_out(np.eye(3)).compose(3)


def test_a_class_of_one_sample_is_erased_as_any_other():
    y = np.zeros(12, int)
    y[5] = 1
    e = leace(X, y, labels="categorical")
    moved = e.transform(X)
    np.testing.assert_allclose(moved[5], np.delete(np.asarray(moved), 5, 0).mean(0), atol=1e-4)


def test_a_class_that_a_batch_lacks_keeps_its_column():
    assert as_concept([0, 1], labels="categorical", classes=3).shape == (2, 3)
    assert as_concept(np.array([True, False]), labels="categorical").tolist() == [[0, 1], [1, 0]]
    assert as_concept(jnp.array([0.5, 1.0]), labels="continuous").shape == (2, 1)
