"""Relative coordinates: formulas, declared invariances and their limits, and what anchors leave out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy.spatial.distance import cdist

from repgeo.relative import INVARIANCES, SIMILARITIES, completeness, reconstruct, relative

N, P, M = 30, 6, 9


def cloud(seed=0, m=M):
    random = np.random.default_rng(seed)
    return random.normal(size=(N, P)) + 0.5, random.normal(size=(m, P)) + 0.5


def literal(x, anchors, similarity):
    """Each coordinate by its formula, in float64."""
    if similarity == "inner":
        return np.array([[sum(a * b for a, b in zip(row, anchor, strict=True)) for anchor in anchors] for row in x])
    if similarity == "cosine":
        return 1 - cdist(x, anchors, "cosine")
    if similarity == "angular":
        return np.arccos(1 - cdist(x, anchors, "cosine")) / np.pi
    if similarity == "basis":
        return np.linalg.lstsq(anchors.T, x.T, rcond=None)[0].T
    return cdist(x, anchors, {"euclidean": "euclidean", "l1": "cityblock"}[similarity])


def moved(change, x, anchors, seed=0):
    """Samples and anchors after one of the changes that invariances are declared for."""
    random = np.random.default_rng(seed + 1)
    if change == "row scale":
        return tuple(a * random.uniform(0.3, 3, (len(a), 1)) for a in (x, anchors))
    if change == "shift":
        shift = random.normal(size=P)
        return x + shift, anchors + shift
    if change == "scale":
        return 3.7 * x, 3.7 * anchors
    matrix = {
        "permutation": lambda: np.eye(P)[random.permutation(P)],
        "rotation": lambda: np.linalg.qr(random.normal(size=(P, P)))[0],
        "linear": lambda: random.normal(size=(P, P)) + 2 * np.eye(P),
    }[change]()
    return x @ matrix, anchors @ matrix


CHANGES = ("permutation", "rotation", "scale", "row scale", "shift", "linear")


@pytest.mark.parametrize("similarity", SIMILARITIES)
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_coordinates_are_their_formula(similarity, seed):
    x, anchors = cloud(seed)
    np.testing.assert_allclose(
        relative(x, anchors, similarity=similarity), literal(x, anchors, similarity), rtol=1e-3, atol=2e-5
    )


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_an_invariance_holds_if_and_only_if_it_is_declared(similarity, change):
    assert set(INVARIANCES) == set(SIMILARITIES) and INVARIANCES[similarity] <= set(CHANGES)
    x, anchors = cloud()
    with jax.enable_x64(True):
        before = np.asarray(relative(x, anchors, similarity=similarity))
        after = np.asarray(relative(*moved(change, x, anchors), similarity=similarity))
    apart = np.abs(after - before).max() / np.abs(before).max()
    assert apart < 1e-6 if change in INVARIANCES[similarity] else apart > 1e-2


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_with_the_mean_given_a_shift_of_all_moves_nothing(similarity):
    x, anchors = cloud()
    shifted = moved("shift", x, anchors)
    with jax.enable_x64(True):
        before = relative(x, anchors, similarity=similarity, mean=x.mean(0))
        after = relative(*shifted, similarity=similarity, mean=shifted[0].mean(0))
        np.testing.assert_allclose(after, before, atol=1e-6)
        other = {"permutation", "rotation", "scale", "linear"} & INVARIANCES[similarity]
        for change in other:
            x2, anchors2 = moved(change, x, anchors)
            np.testing.assert_allclose(
                relative(x2, anchors2, similarity=similarity, mean=x2.mean(0)), before, atol=1e-6
            )


def test_means_taken_apart_for_samples_and_anchors_are_another_thing():
    x, anchors = cloud()
    one = relative(x, anchors, mean=x.mean(0))
    two = relative(x - x.mean(0), anchors - anchors.mean(0))
    assert np.abs(one - two).max() > 0.05


def test_fewer_anchors_than_features_lose_the_invariance_of_a_basis():
    x, anchors = cloud(m=P - 1)
    with jax.enable_x64(True):
        before = relative(x, anchors, similarity="basis")
        after = relative(*moved("linear", x, anchors), similarity="basis")
        turned = relative(*moved("rotation", x, anchors), similarity="basis")
    assert np.abs(after - before).max() > 0.05
    np.testing.assert_allclose(turned, before, atol=1e-6)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_one_row_has_the_coordinates_that_it_has_in_a_batch(similarity):
    x, anchors = cloud()
    both = relative(x, anchors, similarity=similarity, mean=x.mean(0))
    one = relative(x[7:8], anchors, similarity=similarity, mean=x.mean(0))
    np.testing.assert_allclose(one[0], both[7], rtol=1e-4, atol=1e-5)


def test_a_row_meets_itself():
    x, _ = cloud()
    np.testing.assert_allclose(np.diag(relative(x, x)), 1, atol=1e-6)
    for similarity, rounding in (("angular", 5e-4), ("euclidean", 5e-3), ("l1", 0)):
        assert np.abs(np.diag(relative(x, x, similarity=similarity))).max() <= rounding


@pytest.mark.parametrize("similarity", ["cosine", "angular", "euclidean"])
@pytest.mark.parametrize("size", [2.0**-60, 2.0**60])
def test_any_scale_is_read(similarity, size):
    x, anchors = (a.astype(np.float32) for a in cloud())
    factor = size if similarity == "euclidean" else 1
    got = relative(size * x, size * anchors, similarity=similarity)
    np.testing.assert_allclose(got, factor * relative(x, anchors, similarity=similarity), rtol=1e-5)


# --- what the anchors leave out


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_completeness_is_that_of_the_singular_values(seed):
    x, anchors = cloud(seed, m=4)
    found = completeness(x, anchors)
    unit = anchors / np.linalg.norm(anchors, axis=1)[:, None]
    s = np.linalg.svd(unit, compute_uv=False)
    inside = x @ np.linalg.pinv(unit) @ unit
    assert int(found.rank) == 4
    assert float(found.condition) == pytest.approx(s[0] / s[-1], rel=1e-3)
    assert float(found.kept) == pytest.approx((inside**2).sum() / (x**2).sum(), rel=1e-4)


def test_anchors_that_repeat_add_no_rank():
    x, anchors = cloud()
    anchors = np.concatenate([anchors[:3], 2 * anchors[:3]])
    found = completeness(x, anchors)
    assert int(found.rank) == 3 and float(found.condition) < 100


def test_full_rank_anchors_give_every_row_back():
    x, anchors = cloud()
    assert float(completeness(x, anchors).kept) == pytest.approx(1, abs=1e-5)
    back = reconstruct(relative(x, anchors), anchors, norms=np.linalg.norm(x, axis=1))
    np.testing.assert_allclose(back, x, atol=1e-4)


def test_too_few_anchors_give_back_the_part_within_their_span():
    x, anchors = cloud(m=3)
    back = reconstruct(relative(x, anchors), anchors, norms=np.linalg.norm(x, axis=1))
    np.testing.assert_allclose(back, x @ np.linalg.pinv(anchors) @ anchors, atol=1e-4)
    kept = (np.asarray(back) ** 2).sum() / (x**2).sum()
    assert float(completeness(x, anchors).kept) == pytest.approx(kept, rel=1e-4)


def test_the_anchors_of_a_rotated_space_translate():
    x, anchors = cloud()
    there = moved("rotation", x, anchors)
    back = reconstruct(relative(x, anchors), there[1], norms=np.linalg.norm(x, axis=1))
    np.testing.assert_allclose(back, there[0], atol=1e-4)


# --- traces


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_it_runs_under_jit_vmap_and_grad(similarity):
    x, anchors = map(jnp.asarray, cloud())

    def f(x, a):
        return relative(x, a, similarity=similarity, mean=x.mean(0))

    expected = f(x, anchors)
    np.testing.assert_allclose(jax.jit(f)(x, anchors), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda: f(x, anchors))(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(f)(x[None], anchors[None])[0], expected, rtol=1e-4, atol=1e-5)
    with jax.enable_x64(True):
        x, anchors = map(jnp.asarray, cloud())
        check_grads(lambda x, a: relative(x, a, similarity=similarity), (x, anchors), order=1, modes=["rev"])


@pytest.mark.parametrize("similarity", ["angular", "euclidean"])
def test_the_gradient_at_an_anchor_is_finite(similarity):
    x, _ = cloud()
    slope = jax.grad(lambda x: relative(x, x, similarity=similarity).sum())(jnp.asarray(x))
    assert np.isfinite(slope).all()


def test_completeness_and_reconstruction_run_under_jit():
    x, anchors = map(jnp.asarray, cloud())
    assert float(jax.jit(completeness)(x, anchors).kept) == pytest.approx(1, abs=1e-5)
    norms = jnp.linalg.norm(x, axis=1)
    back = jax.jit(lambda x, a, n: reconstruct(relative(x, a), a, norms=n))(x, anchors, norms)
    np.testing.assert_allclose(back, x, atol=1e-4)


def test_a_zero_row_under_a_trace_is_nan_where_it_has_no_direction():
    x, anchors = map(jnp.asarray, cloud())
    for similarity in ("cosine", "angular"):
        got = np.asarray(jax.jit(lambda x, a, s=similarity: relative(x, a, similarity=s))(x.at[3].set(0), anchors))
        assert np.isnan(got[3]).all() and np.isfinite(got[:3]).all()


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_found_whatever_the_similarity(similarity, bad):
    for which, name in ((0, "x"), (1, "anchors")):
        arrays = list(cloud())
        arrays[which][4, 2] = bad
        with pytest.raises(ValueError, match=f"{name}: expected finite values; got 1 NaN or inf .*row 4, column 2"):
            relative(*arrays, similarity=similarity)
    x, anchors = cloud()
    with pytest.raises(ValueError, match="mean: expected finite values"):
        relative(x, anchors, similarity=similarity, mean=np.full(P, bad))


def test_rows_of_very_different_lengths_keep_their_directions():
    x, anchors = cloud()
    lengths = 2.0 ** np.random.default_rng(0).integers(-100, 100, (N, 1))
    np.testing.assert_allclose(relative(lengths * x, anchors), relative(x, anchors), rtol=1e-4, atol=1e-6)


# --- bad input


@pytest.mark.parametrize("call", [relative, completeness])
def test_bad_input_is_named(call):
    x, anchors = cloud()
    with pytest.raises(ValueError, match=r"x and anchors: expected one width, in one space; got .*\(30, 6\).*\(9, 5\)"):
        call(x, anchors[:, :5])
    with pytest.raises(ValueError, match="anchors: expected a matrix"):
        call(x, anchors[0])
    with pytest.raises(ValueError, match="x: expected finite values; got 6 NaN or inf .*row 2, column 0"):
        call(np.where(np.arange(N)[:, None] == 2, np.inf, x), anchors)
    with pytest.raises(TypeError, match="anchors: expected real numbers; got dtype"):
        call(x, anchors.astype(complex))
    with pytest.raises(ValueError, match="anchors: expected rows with a direction; got 1 zero rows, .*row 8"):
        call(x, np.concatenate([anchors[:8], np.zeros((1, P))]))


def test_other_arguments_are_named():
    x, anchors = cloud()
    with pytest.raises(ValueError, match="similarity: expected one of cosine, angular, inner, .*; got 'dot'"):
        relative(x, anchors, similarity="dot")
    with pytest.raises(ValueError, match=r"mean: expected one number a feature, shape \(6,\); got \(30,\)"):
        relative(x, anchors, mean=x.mean(1))
    with pytest.raises(ValueError, match="anchors minus mean: expected rows with a direction; got 1 zero rows"):
        relative(x, anchors, mean=anchors[2])
    with pytest.raises(ValueError, match="x: expected rows that are not all 0"):
        completeness(np.zeros((4, P)), anchors)
    with pytest.raises(ValueError, match=r"expected shapes \(n, m\), \(m, p\) and \(n,\); got \(30, 9\), \(8, 6\)"):
        reconstruct(relative(x, anchors), anchors[:8], norms=np.ones(N))
    assert np.isfinite(relative(np.zeros((2, P)), anchors, similarity="euclidean")).all()
