"""Moments of a stream equal those of the whole, in any order and in batches of any size."""

import operator
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repgeo import similarity as sim
from repgeo.moments import Moments, moments, moments_by_blocks
from repgeo.similarity import kernels


def pair(n, p, q, seed=0, offset=0.0, dtype=np.float64):
    """A related pair whose features lie `offset` deviations from 0."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, p))
    y = x[:, :1] + random.normal(size=(n, q))
    return (x + offset).astype(dtype), (y + offset).astype(dtype)


def batches(n, sizes):
    """Consecutive index ranges of the given sizes, again and again, the last one cut."""
    edges = np.cumsum(np.tile(sizes, n))
    return [rows for rows in np.split(np.arange(n), edges[edges < n]) if len(rows)]


def streamed(x, y, parts):
    return reduce(operator.add, [moments(x[rows], y[rows]) for rows in parts])


def assert_close(a, b, rtol=1e-12):
    for mine, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(mine, other, rtol=rtol, atol=rtol * 100)


def test_one_batch_holds_count_means_and_centred_products():
    x, y = pair(60, 4, 3, offset=2.0)
    with jax.enable_x64(True):
        m = moments(x, y)
        assert float(m.n) == 60
        np.testing.assert_allclose(m.mean_x, x.mean(0), rtol=1e-14)
        np.testing.assert_allclose(m.mean_y, y.mean(0), rtol=1e-14)
        for mine, expected in zip((m.xx, m.xy, m.yy), oracles.scatter(x, y), strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-12)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6))
def test_neither_order_nor_sizes_of_batches_matter(seed):
    random = np.random.default_rng(seed)
    x, y = pair(120, 4, 3, seed, offset=5.0)
    with jax.enable_x64(True):
        parts = batches(120, [40, 40, 40])
        parts = [rows for part in parts for rows in np.split(part, [[1, 8], [1, 13], [7, 8]][random.integers(3)])]
        parts = [random.permutation(part) for part in parts]
        random.shuffle(parts)
        assert_close(moved(streamed(x, y, parts)), moved(moments(x, y)))


def moved(m):
    """Moments without the digits below the mean's own rounding, which no order has to keep."""
    return m.n, m.mean_x + m.rest_x, m.mean_y + m.rest_y, m.xx, m.xy, m.yy


def test_addition_is_associative_and_commutative_to_rounding():
    x, y = pair(60, 4, 3)
    with jax.enable_x64(True):
        a, b, c = (moments(x[i : i + 20], y[i : i + 20]) for i in (0, 20, 40))
        assert_close(moved((a + b) + c), moved(a + (b + c)))
        assert_close(moved(a + b), moved(b + a))


@pytest.mark.parametrize(("p", "q", "n"), [(1, 1, 500), (8, 5, 2000), (32, 16, 5000), (64, 48, 20000)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fifty_unequal_batches_at_offset_1000_give_the_cka_of_the_whole_to_1e_6(p, q, n, seed):
    x, y = pair(n, p, q, seed, offset=1000.0, dtype=np.float32)
    base = n // 50
    parts = batches(n, [base // 2, base, 2 * base - base // 2])
    assert len(parts) >= 50
    got = float(sim.cka_from(streamed(x, y, parts)))
    assert got == pytest.approx(float(sim.cka(x, y)), rel=1e-6)
    assert got == pytest.approx(oracles.cka(x, y), rel=1e-6)


def test_the_mean_of_a_long_stream_keeps_the_digits_that_its_float_cannot_hold():
    x, y = pair(5000, 3, 2, offset=1000.0, dtype=np.float32)
    m = streamed(x, y, batches(5000, [20]))
    exact = np.asarray(m.mean_x, np.float64) + np.asarray(m.rest_x, np.float64)
    np.testing.assert_allclose(exact, x.astype(np.float64).mean(0), rtol=0, atol=2e-6)
    assert np.abs(np.asarray(m.rest_x)).max() < 4e-5  # half a unit in the last place of 1 000


def test_measures_of_a_stream_equal_those_of_the_arrays():
    x, y = pair(120, 4, 3, offset=3.0)
    with jax.enable_x64(True):
        m = streamed(x, y, batches(120, [40]))
        x, y = jnp.asarray(x), jnp.asarray(y)
        np.testing.assert_allclose(sim.cka_from(m), sim.cka(x, y), rtol=1e-12)
        np.testing.assert_allclose(sim.cca_from(m), sim.cca(x, y), rtol=1e-10)
        np.testing.assert_allclose(sim.cca_from(m), oracles.canonical_correlations(x, y), rtol=1e-10)
        for options in ({}, {"threshold": 0.7}, {"on": "singular"}, {"threshold": 0.8, "on": "singular"}):
            np.testing.assert_allclose(sim.svcca_from(m, **options), sim.svcca(x, y, **options), rtol=1e-10)
        for normalized in (False, True):
            twin = sim.procrustes(x, y, normalized=normalized)
            np.testing.assert_allclose(sim.procrustes_from(m, normalized=normalized), twin, rtol=1e-10)


def test_procrustes_of_a_stream_is_the_distance_after_the_best_rotation():
    x, y = pair(120, 4, 4)
    with jax.enable_x64(True):
        np.testing.assert_allclose(sim.procrustes_from(moments(x, y)), oracles.procrustes(x, y), rtol=1e-10)


def test_canonical_correlations_of_a_rank_deficient_stream_stop_at_the_rank():
    x, y = pair(120, 4, 3)
    x = np.column_stack([x, x @ np.ones(4), np.full(120, 2.0)])
    with jax.enable_x64(True):
        assert sim.cca_from(moments(x, y)).shape == sim.cca(x, y).shape == (3,)
        x = x[:, [0, 0, 5]]
        assert sim.cca_from(moments(x, y)).shape == sim.cca(x, y).shape == (1,)


def test_it_scans_like_a_stream():
    x, y = pair(120, 4, 3, offset=1000.0, dtype=np.float32)
    xs, ys = jnp.asarray(x).reshape(6, 20, 4), jnp.asarray(y).reshape(6, 20, 3)

    @jax.jit
    def total(xs, ys):
        first = moments(xs[0], ys[0])
        return jax.lax.scan(lambda m, b: (m + moments(*b), None), first, (xs[1:], ys[1:]))[0]

    assert_close(moved(total(xs, ys))[3:], moved(streamed(x, y, batches(120, [20])))[3:], rtol=2e-6)
    np.testing.assert_allclose(jax.jit(lambda a, b: sim.cka_from(total(a, b)))(xs, ys), oracles.cka(x, y), rtol=1e-6)


def test_shards_map_and_reduce_in_a_tree():
    x, y = pair(160, 4, 3)
    with jax.enable_x64(True):
        shards = jax.vmap(moments)(jnp.asarray(x).reshape(8, 20, 4), jnp.asarray(y).reshape(8, 20, 3))
        add = jax.jit(jax.vmap(operator.add))
        for half in (4, 2, 1):
            left, right = (jax.tree.map(lambda a, s=s: a[s], shards) for s in (slice(0, half), slice(half, None)))
            shards = add(left, right)
        assert_close(moved(jax.tree.map(lambda a: a[0], shards)), moved(moments(x, y)))


def test_it_maps_over_pairs_and_its_measures_with_it():
    x, y = pair(60, 4, 3)
    x = jnp.asarray(x, jnp.float32)[None] * jnp.array([1.0, 2.0])[:, None, None]
    y = jnp.stack([jnp.asarray(y, jnp.float32), jnp.asarray(y, jnp.float32) ** 2])
    got = jax.vmap(lambda a, b: sim.cka_from(moments(a, b)))(x, y)
    np.testing.assert_allclose(got, [sim.cka(a, b) for a, b in zip(x, y, strict=True)], rtol=1e-5)


def test_its_gradient_is_that_of_the_array():
    x, y = pair(60, 4, 3)
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)
        through = jax.grad(lambda a: sim.cka_from(moments(a[:20], y[:20]) + moments(a[20:], y[20:])))(x)
        np.testing.assert_allclose(through, jax.grad(lambda a: sim.cka(a, y))(x), rtol=1e-9, atol=1e-12)


def test_it_is_a_pytree_of_arrays():
    m = moments(*pair(60, 4, 3))
    leaves, structure = jax.tree.flatten(m)
    assert isinstance(jax.tree.unflatten(structure, leaves), Moments)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)


def test_batches_of_other_widths_do_not_add_up():
    x, y = pair(60, 4, 3)
    with pytest.raises(ValueError, match=r"batches of equal widths; got \(4, 3\) and \(3, 3\)"):
        moments(x, y) + moments(x[:, :3], y)


def test_a_batch_may_be_one_row_or_constant_but_not_empty():
    x, y = pair(60, 4, 3)
    assert not np.asarray(moments(x[:1], y[:1]).xx).any()
    assert not np.asarray(moments(np.ones((5, 2)), np.ones((5, 2))).xy).any()
    with pytest.raises(ValueError, match="at least 1 samples"):
        moments(x[:0], y[:0])


def test_blocks_of_host_arrays_and_of_a_memory_map_give_the_moments_of_the_whole(tmp_path):
    x, y = pair(600, 4, 3, offset=1000, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for rows in (256, 599, 600, 10_000):
        assert_close(moments_by_blocks(mapped, y, rows=rows), moments(x, y), rtol=2e-6)


def test_blocks_name_the_row_of_a_nan_and_refuse_unequal_arrays():
    x, y = pair(600, 4, 3)
    x[500, 2] = np.nan
    with pytest.raises(ValueError, match=r"x: expected finite.*row 500, column 2"):
        moments_by_blocks(x, y, rows=100)
    with pytest.raises(ValueError, match=r"\(600, 4\) and \(599, 3\)"):
        moments_by_blocks(np.ones((600, 4)), y[1:])
    with pytest.raises(ValueError, match="rows: expected"):
        moments_by_blocks(y, y, rows=0)


def test_cka_reads_large_numpy_arrays_in_blocks_and_gets_the_same_value(monkeypatch):
    x, y = pair(600, 4, 3, dtype=np.float32)
    whole = float(sim.cka(x, y))
    monkeypatch.setattr(kernels, "_LARGE_BYTES", 100)
    monkeypatch.setattr(kernels, "_cka", None)  # would fail if it were called
    assert float(sim.cka(x, y)) == pytest.approx(whole, rel=1e-6)
    with pytest.raises(ValueError, match="no spread"):
        sim.cka(x, np.ones_like(y))
