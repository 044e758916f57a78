"""What every eraser promises: nothing linear is left, twice is once, units do not matter, a rare class counts."""

import operator
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repgeo.erasure import (
    Eraser,
    as_concept,
    difference_subspace,
    equalize,
    hard_debias,
    leace,
    leace_from,
    mean_projection,
    mean_projection_from,
    oracle_leace,
    project_out,
    sal,
    sal_from,
    splince,
    splince_from,
)
from repgeo.moments import Moments, moments

FULL = {
    "leace": leace_from,
    "mean_projection": mean_projection_from,
    "sal": partial(sal_from, rank=3),
    "splince": partial(splince_from, concept=4),
}
SEEDS = settings(deadline=None, max_examples=8)


def planted(seed, n=120, p=10, c=4, offset=3.0):
    """Features whose class means differ, correlated among themselves, off the origin; classes; another label."""
    random = np.random.default_rng(seed)
    y = np.concatenate([np.arange(c), random.integers(0, c, n - c)])
    task = random.integers(0, 2, n)
    means, toward = random.normal(size=(c, p)), random.normal(size=p)
    x = (random.normal(size=(n, p)) + means[y] + task[:, None] * toward) @ random.normal(size=(p, p)) + offset
    return x, y, task


def sums(x, y, task):
    z, t = (np.eye(a.max() + 1)[a] for a in (y, task))
    return moments(x, z), moments(x, np.concatenate([z, t], 1))


def leakage(projector, x, y):
    """Largest entry of P Sxz over that of Sxz: textbook, NumPy."""
    z = np.eye(y.max() + 1)[y] if y.dtype.kind == "i" else y.reshape(len(y), -1)
    cross = (x - x.mean(0)).T @ (z - z.mean(0)) / len(x)
    return np.abs(projector @ cross).max() / np.abs(cross).max()


def wrong_leace(x, y):
    """The mistake that is found in the wild: the whitened direction, projected out of x as it is."""
    xc, z = x - x.mean(0), np.eye(y.max() + 1)[y]
    values, vectors = np.linalg.eigh(xc.T @ xc / len(x))
    whitened = (vectors / np.sqrt(values)) @ vectors.T @ (xc.T @ (z - z.mean(0)))
    u, s, _ = np.linalg.svd(whitened, full_matrices=False)
    u = u[:, s > 1e-9 * s[0]]
    return np.eye(x.shape[1]) - u @ u.T


@SEEDS
@given(st.integers(0, 10**6))
def test_nothing_linear_is_left_and_twice_is_once(seed):
    with jax.enable_x64(True):
        x, y, task = planted(seed)
        plain, joint = sums(x, y, task)
        for name, fit in FULL.items():
            e = fit(joint if name == "splince" else plain)
            scale = np.abs(e.projector).max() ** 2
            assert leakage(e.projector, x, y) < 1e-10 * scale, name
            np.testing.assert_allclose(e.projector @ e.projector, e.projector, atol=1e-10 * scale, err_msg=name)
            once = e.transform(x)
            np.testing.assert_allclose(e.transform(once), once, atol=1e-9 * scale * np.abs(x).max(), err_msg=name)
            np.testing.assert_allclose(once.mean(0), x.mean(0), atol=1e-9 * scale, err_msg=name)
            assert int(e.rank) == 3, name


def test_the_mistake_found_in_the_wild_would_be_noticed():
    x, y, _ = planted(0)
    assert leakage(wrong_leace(x, y), x, y) > 0.05


@SEEDS
@given(st.integers(0, 10**6))
def test_leace_moves_the_rows_least_of_all_that_guard(seed):
    with jax.enable_x64(True):
        x, y, task = planted(seed)
        plain, joint = sums(x, y, task)

        def moved(e):
            return float(np.mean((e.transform(x) - x) ** 2))

        least = moved(leace_from(plain))
        for name, fit in FULL.items():
            assert moved(fit(joint if name == "splince" else plain)) >= least * (1 - 1e-9), name
        e = leace_from(plain)
        residual = (x - e.transform(x)).T @ (e.transform(x) - e.bias[None])  # at the optimum edits and rest are
        np.testing.assert_allclose(residual, 0, atol=1e-7 * np.abs(x.T @ x).max())  # uncorrelated: the normal equation


def test_splince_keeps_the_covariance_with_the_task_and_leace_does_not():
    with jax.enable_x64(True):
        x, y, task = planted(1)
        kept = []
        for e in (
            splince(x, y, task, labels="categorical", task_labels="categorical"),
            leace(x, y, labels="categorical"),
        ):
            cross = (x - x.mean(0)).T @ (task - task.mean())
            kept.append(np.abs(e.projector @ cross - cross).max() / np.abs(cross).max())
        assert kept[0] < 1e-10 and kept[1] > 1e-3


def test_a_stream_gives_the_eraser_of_the_whole_in_any_order():
    with jax.enable_x64(True):
        x, y, task = planted(2, offset=100.0)
        whole = sums(x, y, task)
        z, t = (np.eye(a.max() + 1)[a] for a in (y, task))
        parts = [moments(x[i : i + 40], z[i : i + 40]) for i in range(0, 120, 40)]
        joint = [moments(x[i : i + 40], np.concatenate([z, t], 1)[i : i + 40]) for i in range(0, 120, 40)]
        for name, fit in FULL.items():
            pieces, m = (joint, whole[1]) if name == "splince" else (parts, whole[0])
            for order in (pieces, pieces[::-1]):
                got, right = fit(reduce(operator.add, order)).projector, fit(m).projector
                np.testing.assert_allclose(got, right, atol=1e-10 * np.abs(right).max(), err_msg=name)


def test_the_memory_of_a_fit_does_not_grow_with_the_stream():
    m = moments(*map(jnp.asarray, (np.ones((3, 10), np.float32), np.eye(3, dtype=np.float32))))
    assert sum(a.size for a in jax.tree.leaves(m)) == 1 + 2 * (10 + 3) + 10 * 10 + 10 * 3 + 3 * 3


@pytest.mark.parametrize("power", [-12, -4, 4, 12])
def test_the_units_of_features_and_of_the_concept_do_not_matter(power):
    x, y, _ = planted(3)
    x = x.astype(np.float32)
    values = (y == 1).astype(np.float32)
    right = leace(x, values, labels="continuous")
    scale = np.float32(10.0**power)
    for e in (leace(x * scale, values, labels="continuous"), leace(x, values * scale, labels="continuous")):
        assert int(e.rank) == 1
        np.testing.assert_allclose(e.projector, right.projector, atol=1e-4 * np.abs(right.projector).max())
    for e in (mean_projection(x * scale, values * scale, labels="continuous"),):
        assert int(e.rank) == 1


def test_features_of_very_different_scale_are_erased_alike():
    x, y, _ = planted(4)
    scales = np.logspace(-6, 6, x.shape[1])
    even, uneven = (leace((x * s).astype(np.float32), y, labels="categorical") for s in (1.0, scales))
    moved = [np.asarray(e.transform((x * s).astype(np.float32))) / s for e, s in ((even, 1.0), (uneven, scales))]
    np.testing.assert_allclose(*moved, atol=2e-4 * np.abs(x).max())


@pytest.mark.parametrize("prevalence", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("fit", [leace, mean_projection, partial(sal, rank=1)])
def test_a_rare_class_is_erased(fit, prevalence):
    n = 20_000
    random = np.random.default_rng(5)
    y = np.zeros(n, int)
    y[: max(2, round(n * prevalence))] = 1
    x = (random.normal(size=(n, 6)) + 3 * y[:, None] * random.normal(size=6)).astype(np.float32)
    e = fit(x, y, labels="categorical")
    assert int(e.rank) == 1
    gap = [np.linalg.norm(a[y == 1].mean(0) - a[y == 0].mean(0)) for a in (x, np.asarray(e.transform(x)))]
    assert gap[1] < 1e-4 * gap[0]


@pytest.mark.parametrize("fit", [leace, mean_projection, partial(sal, rank=1)])
def test_removing_nothing_warns_with_the_reason(fit):
    x, y = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), [0, 0, 1, 1]
    with pytest.warns(UserWarning, match="removed nothing: the largest canonical correlation .* is rounding"):
        e = fit(x, y, labels="categorical")
    assert int(e.rank) == 0
    np.testing.assert_array_equal(e.transform(x), x)


def test_fewer_rows_than_features_are_erased_exactly():
    random = np.random.default_rng(6)
    x, y = random.normal(size=(20, 50)), np.arange(20) % 3
    for fit in (leace, mean_projection):
        e = fit(x.astype(np.float32), y, labels="categorical")
        assert int(e.rank) == 2 and leakage(np.asarray(e.projector), x, y) < 1e-3
    with jax.enable_x64(True):
        assert leakage(leace(x, y, labels="categorical").projector, x, y) < 1e-10


def test_a_column_that_repeats_or_is_constant_does_no_harm():
    x, y, _ = planted(7)
    wide = np.concatenate([x, x[:, :2], np.full((len(x), 1), 7.0)], 1).astype(np.float32)
    e = leace(wide, y, labels="categorical")
    narrow = leace(x.astype(np.float32), y, labels="categorical")
    assert int(e.rank) == 3
    np.testing.assert_allclose(e.transform(wide)[:, :10], narrow.transform(x.astype(np.float32)), atol=2e-3)
    np.testing.assert_array_equal(e.transform(wide)[:, -1], 7)


def test_fewer_directions_are_the_most_correlated_ones():
    with jax.enable_x64(True):
        x, y, _ = planted(8)
        whole, one = leace(x, y, labels="categorical"), leace(x, y, labels="categorical", rank=1)
        assert (int(whole.rank), int(one.rank)) == (3, 1)
        assert leakage(whole.projector @ one.projector, x, y) < 1e-9
        assert 1e-3 < leakage(one.projector, x, y) < 1.5


def test_under_jit_and_vmap_an_eraser_is_the_same():
    xs, ys = zip(*(planted(seed, n=60, p=5, c=2)[:2] for seed in (1, 2)), strict=True)
    xs, ys = jnp.asarray(np.stack(xs), jnp.float32), jnp.asarray(np.stack(ys))
    for fit in (leace_from, mean_projection_from):
        def erased(x, y, fit=fit):
            return fit(moments(x, as_concept(y, labels="categorical", classes=2))).transform(x)

        batch = jax.jit(jax.vmap(erased))(xs, ys)
        for i in range(2):
            np.testing.assert_allclose(batch[i], erased(xs[i], ys[i]), atol=2e-3)


def test_a_trace_may_close_over_data_and_labels():
    x, y, task = planted(5, n=60, p=5, c=2)
    x, y, task = jnp.asarray(x, jnp.float32), jnp.asarray(y), jnp.asarray(task)
    kinds = {"labels": "categorical"}
    fits = {
        "leace": lambda: leace(x, y, **kinds),
        "splince": lambda: splince(x, y, task, task_labels="categorical", **kinds),
        "sal": lambda: sal(x, y, rank=1, **kinds),
    }
    for name, fit in fits.items():
        traced = jax.jit(lambda a, fit=fit: fit().transform(x) * a)(1.0)
        np.testing.assert_allclose(traced, fit().transform(x), atol=1e-4, err_msg=name)


def test_a_gradient_passes_through_a_fit():
    x, y, _ = planted(9, n=40, p=4, c=2)
    z = as_concept(y, labels="categorical")

    def size(x):
        return jnp.sum(leace_from(moments(x, z[:, 1:])).transform(x) ** 2)

    with jax.enable_x64(True):
        z = z.astype(float)
        x = jnp.asarray(x)
        slope = jax.grad(size)(x)[3, 2]
        step = jnp.zeros_like(x).at[3, 2].set(1e-5)
        np.testing.assert_allclose(slope, (size(x + step) - size(x - step)) / 2e-5, rtol=1e-4)


@SEEDS
@given(st.integers(0, 10**6))
def test_two_erasers_composed_do_what_one_after_the_other_does(seed):
    random = np.random.default_rng(seed)
    with jax.enable_x64(True):
        x, y, task = planted(seed)
        e, f = leace(x, y, labels="categorical"), leace(x, task, labels="categorical")
        pushed = Eraser(f.left, f.right, f.bias, jnp.asarray(random.normal(size=10)))
        for then in (f, e, pushed, project_out(random.normal(size=(2, 10)))):
            both = e.compose(then)
            right = then.transform(e.transform(x))
            np.testing.assert_allclose(both.transform(x), right, atol=1e-8 * np.abs(x).max())
            np.testing.assert_allclose(both.compose(e).transform(x), e.transform(right), atol=1e-7 * np.abs(x).max())


def test_one_row_is_transformed_as_in_a_matrix():
    x, y, _ = planted(1)
    e = leace(x, y, labels="categorical")
    np.testing.assert_allclose(e.transform(x[0]), e.transform(x)[0], rtol=1e-5, atol=1e-4)


def test_oracle_leace_makes_class_means_equal_and_moves_less():
    with jax.enable_x64(True):
        x, y, _ = planted(3)
        z = as_concept(y, labels="categorical")
        erased = oracle_leace(x, y, labels="categorical").transform(x, z)
        for c in range(4):
            np.testing.assert_allclose(erased[y == c].mean(0), x.mean(0), atol=1e-9)
        least = np.mean((erased - x) ** 2)
        assert least < np.mean((leace(x, y, labels="categorical").transform(x) - x) ** 2)


def test_continuous_concepts_of_several_columns_are_erased():
    with jax.enable_x64(True):
        x, _, _ = planted(4)
        z = x[:, :2] @ np.array([[1.0, 2.0], [0.5, 1.0]]) + np.random.default_rng(0).normal(size=(120, 2))
        e = leace(x, np.concatenate([z, z.sum(1, keepdims=True)], 1), labels="continuous")
        assert int(e.rank) == 2 and leakage(e.projector, x, z) < 1e-10


def test_hard_debiasing_drops_what_pairs_differ_in_and_equalizing_makes_words_neutral():
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        axis = np.linalg.qr(random.normal(size=(6, 6)))[0][0]
        middle = random.normal(size=(8, 6))
        a, b = middle + axis, middle - axis
        e = hard_debias(a, b)
        np.testing.assert_allclose(e.projector, np.eye(6) - np.outer(axis, axis), atol=1e-12)
        unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b)]
        left, right = equalize(*unit, e)
        word = e.transform(random.normal(size=6))
        np.testing.assert_allclose(left @ word, right @ word, atol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(left, axis=1), 1, atol=1e-12)
        assert np.all((left - right) @ axis * ((unit[0] - unit[1]) @ axis) > 0)


def test_a_difference_subspace_finds_the_planted_direction_only_without_the_mean():
    random = np.random.default_rng(1)
    axes = np.linalg.qr(random.normal(size=(20, 20)))[0]
    mean, planted_axis = 30 * axes[0], axes[1]
    preferred = mean + random.normal(size=(200, 20))
    amount = random.normal(size=(200, 1))
    other = preferred * (1 + 0.3 * random.normal(size=(200, 1))) + 3 * amount * planted_axis
    (found,) = difference_subspace(preferred, other, rank=1)
    _, _, plain = np.linalg.svd(preferred - other, full_matrices=False)
    assert abs(found @ planted_axis) > 0.95 > 0.2 > abs(plain[0] @ planted_axis)
    assert found[np.abs(found).argmax()] > 0


def test_directions_need_be_neither_orthogonal_nor_independent():
    with jax.enable_x64(True):
        directions = np.random.default_rng(2).normal(size=(3, 7))
        e = project_out(np.concatenate([directions, directions[:1] + directions[1:2]]), bias=np.ones(7))
        assert int(e.rank) == 3
        np.testing.assert_allclose(e.projector @ directions.T, 0, atol=1e-12)
        np.testing.assert_allclose(e.transform(np.ones(7)), 1, atol=1e-12)


def test_an_eraser_is_a_tree_of_four_arrays():
    e = project_out(jnp.eye(3)[:1])
    assert len(jax.tree.leaves(e)) == 4
    assert isinstance(jax.tree.map(lambda a: a, e), Eraser) and not isinstance(e, Moments)
