"""The compiled kernels against textbook NumPy, at block edges and at the ends of the number range."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repgeo import linalg


def pair(n, p, q, seed=0, offset=0.0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, p)) + offset, random.normal(size=(n, q)) - offset


def test_centring_leaves_exact_zeros_of_a_constant_column():
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    x[:, 1] = 1e6 / 3
    got = np.asarray(linalg.center(jnp.asarray(x)))
    assert (got[:, 1] == 0).all()
    np.testing.assert_allclose(got[:, [0, 2]], oracles.centred(x)[:, [0, 2]], atol=1e-6)


@pytest.mark.parametrize("n", [2, 249, 250, 251, 500, 501])
def test_scatter_by_blocks_of_rows_equals_the_plain_products(n):
    x, y = pair(n, 5, 3, offset=3.0)
    with jax.enable_x64(True):
        for got, expected in zip(linalg.scatter(x, y), oracles.scatter(x, y), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(("p", "q"), [(127, 128), (129, 256), (257, 1), (1100, 2)])
def test_scatter_by_strips_of_columns_equals_the_plain_products(p, q):
    x, y = pair(260, p, q)
    with jax.enable_x64(True):
        got = linalg.scatter(x, y)
        for mine, expected in zip(got, oracles.scatter(x, y), strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-12, atol=1e-10)
        np.testing.assert_array_equal(got[0], got[0].T)


def test_scatter_of_float32_keeps_its_digits_at_a_large_offset():
    x, y = (a.astype(np.float32) for a in pair(501, 5, 3, offset=1000.0))
    for got, expected in zip(linalg.scatter(x, y), oracles.scatter(x, y), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * 501)


def test_scatter_of_one_row_is_zero():
    for got in linalg.scatter(jnp.ones((1, 3)), jnp.ones((1, 2))):
        assert (np.asarray(got) == 0).all()


def test_the_gradient_of_the_blocked_scatter_is_that_of_the_plain_one():
    x, y = pair(501, 5, 3)

    def loss(products):
        xx, xy, yy = products
        return jnp.sum(jnp.sin(xx)) + jnp.sum(jnp.cos(xy)) + jnp.sum(yy**2)

    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)
        blocked = jax.grad(lambda *a: loss(linalg._scatter_by_blocks(*a)), (0, 1))(x, y)
        plain = jax.grad(lambda *a: loss(linalg._scatter_plain(*a)), (0, 1))(x, y)
        for mine, expected in zip(blocked, plain, strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_cosines_are_right_at_block_edges_and_any_scale(size):
    x, y = pair(251, 5, 3, offset=3.0)
    xx, xy, yy = oracles.scatter(x, y)
    s, t = np.sqrt(np.trace(xx)), np.sqrt(np.trace(yy))
    product, norm_x, norm_y = linalg.cosines(jnp.asarray(size * x, jnp.float32), jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(product, xy / s / t, atol=1e-6)
    np.testing.assert_allclose([norm_x, norm_y], [size * s, t], rtol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_frobenius_neither_overflows_nor_underflows(size):
    a = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    got = float(linalg.frobenius(jnp.asarray(np.float32(size) * a)))
    assert got == pytest.approx(size * np.linalg.norm(a.astype(np.float64)), rel=1e-6)


def test_frobenius_of_zero_is_zero_with_a_finite_gradient():
    assert float(linalg.frobenius(jnp.zeros((2, 2)))) == 0
    assert np.isfinite(jax.grad(linalg.frobenius)(jnp.zeros((2, 2)))).all()


def test_the_gradient_of_frobenius_is_the_unit_matrix():
    a = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32)
    np.testing.assert_allclose(jax.grad(linalg.frobenius)(a), a / np.linalg.norm(a), rtol=1e-5)


def test_the_safe_root_has_gradient_zero_at_zero_and_passes_nan_on():
    value, slope = jax.vmap(jax.value_and_grad(linalg.safe_sqrt))(jnp.array([4.0, 0.0, -1e-9, jnp.nan]))
    np.testing.assert_allclose(value, [2, 0, 0, np.nan])
    np.testing.assert_allclose(slope[:3], [0.25, 0, 0])


def test_scales_are_powers_of_two_that_bound_the_largest_entry():
    a = jnp.array([[1e-30, -3e-30], [5.0, 4.0], [0.0, 0.0], [3e38, 1.0]])
    got = np.asarray(linalg.scale_of(a, axis=1))
    np.testing.assert_array_equal(got[[1, 2, 3], 0], [4, 1, 2.0**127])
    top = np.abs(np.asarray(a)).max(1)
    assert ((got[[0, 1, 3], 0] <= top[[0, 1, 3]]) & (top[[0, 1, 3]] < 2 * got[[0, 1, 3], 0].astype(float))).all()
    assert (np.frexp(got)[0] == 0.5).all()
    assert linalg.scale_of(a).shape == ()


def test_rank_mask_counts_directions_above_rounding():
    random = np.random.default_rng(0)
    for dtype, noise in ((np.float32, 1e-8), (np.float64, 1e-17)):
        with jax.enable_x64(dtype == np.float64):
            low = random.normal(size=(40, 3)) @ random.normal(size=(3, 8)) + noise * random.normal(size=(40, 8))
            u, s = linalg.basis(jnp.asarray(low, dtype))
            assert int((s > 0).sum()) == 3
            assert (np.asarray(u)[:, 3:] == 0).all()
            np.testing.assert_allclose(u[:, :3].T @ u[:, :3], np.eye(3), atol=1e-5)


def test_the_basis_of_a_zero_matrix_is_empty():
    u, s = linalg.basis(jnp.zeros((5, 3)))
    assert not np.asarray(u).any() and not np.asarray(s).any()


def test_eigenvalues_descend_and_are_not_negative():
    random = np.random.default_rng(0)
    low = random.normal(size=(12, 3)) @ random.normal(size=(3, 8))
    values, vectors = linalg.descending_eigh(jnp.asarray(low.T @ low, jnp.float32))
    assert (np.diff(values) <= 0).all() and (np.asarray(values) >= 0).all()
    np.testing.assert_allclose((vectors * values[None]) @ vectors.T, low.T @ low, atol=1e-3)


@pytest.mark.parametrize("copies", [1, 3])
def test_eigenvalues_alone_are_those_of_numpy_and_so_is_their_derivative(copies):
    random = np.random.default_rng(0)
    a = random.normal(size=(8, 8))
    a = np.kron(np.eye(copies), a + a.T)  # every eigenvalue repeats `copies` times
    found = linalg.eigenvalues(jnp.asarray(np.tril(a), jnp.float32))
    np.testing.assert_allclose(found, np.linalg.eigvalsh(a), atol=1e-5)

    def spread(a):  # treats all eigenvalues alike
        return jnp.sum(jnp.log1p(linalg.eigenvalues(a) ** 2))

    direction = random.normal(size=a.shape)
    direction = (direction + direction.T) / 2
    with jax.enable_x64(True):
        got = jnp.vdot(jax.grad(spread)(jnp.asarray(a)), direction)
        expected = (spread(jnp.asarray(a + 1e-6 * direction)) - spread(jnp.asarray(a - 1e-6 * direction))) / 2e-6
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_singular_values_have_a_finite_gradient_where_they_repeat():
    assert np.isfinite(jax.grad(lambda a: linalg.singular_values(a).sum())(jnp.eye(4))).all()


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_squared_distances_equal_the_oracle_and_vanish_on_the_diagonal(offset):
    x = (np.random.default_rng(0).normal(size=(30, 4)) + offset).astype(np.float32)
    got = np.asarray(linalg.sq_distances(jnp.asarray(x)))
    np.testing.assert_allclose(got, oracles.distances(x) ** 2, rtol=1e-5, atol=1e-5)
    assert (np.diag(got) == 0).all() and (got >= 0).all()


def symmetric(values, n):
    a = np.zeros((n, n))
    a[np.triu_indices(n, 1)] = values
    return a + a.T


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 21])  # 1, 3, 6, 10, 15 and 210 pairs
def test_the_median_over_pairs_is_that_of_numpy(n, dtype):
    random = np.random.default_rng(n)
    pairs = n * (n - 1) // 2
    with jax.enable_x64(dtype == np.float64):
        median = jax.jit(linalg.off_diagonal_median)
        for values in (
            random.random(pairs),
            random.integers(0, 3, pairs),
            np.where(random.random(pairs) < 0.6, 0, random.random(pairs)),
            np.geomspace(1e-30, 1e30, pairs),
            np.zeros(pairs),
        ):
            a = symmetric(values, n).astype(dtype)
            assert float(median(jnp.asarray(a))) == pytest.approx(
                np.median(a[np.triu_indices(n, 1)].astype(float)), rel=1e-6, abs=0
            )


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6))
def test_the_gradient_of_the_median_is_shared_by_the_middle_pairs(seed):
    a = symmetric(np.random.default_rng(seed).permutation(10) + 1.0, 5)
    slope = np.asarray(jax.grad(linalg.off_diagonal_median)(jnp.asarray(a, jnp.float32)))
    np.testing.assert_allclose(slope, np.where((a == 5) | (a == 6), 0.25, 0), atol=1e-6)


def test_products_are_taken_in_double_and_come_back_as_they_went_in():
    x = 1e4 + np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)

    def spread(a, *, scale):
        squares = (a - a.mean(0)[None]) ** 2
        return {"of": scale * squares.sum(0), "dtype": jnp.zeros(2, a.dtype), "n": jnp.arange(3, dtype=jnp.int32)}

    found = linalg.in_double(spread, jnp.asarray(x), scale=2.0)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(found["of"], 2 * ((wide - wide.mean(0)) ** 2).sum(0), rtol=1e-7)
    assert found["of"].dtype == found["dtype"].dtype == jnp.float32 and found["n"].dtype == jnp.int32


def test_an_array_that_a_trace_closes_over_is_computed_with_in_double_at_once():
    x = jnp.ones((4, 2))
    seen = []

    @jax.jit
    def traced(y):
        seen.append(linalg.in_double(jnp.sum, x))
        return y + seen[0]

    assert float(traced(jnp.float32(1))) == 9 and float(seen[0]) == 8


def test_rows_are_taken_in_order():
    x = jnp.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(linalg.taken(x, np.array([2, 0, 2])), np.asarray(x)[[2, 0, 2]])


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_calls_side_by_side_come_back_in_order_in_their_precision_and_fail_as_one_call_would(monkeypatch, cores):
    monkeypatch.setattr(linalg, "cores", lambda: cores)
    calls = [lambda i=i: jnp.full(2, float(i)) / 3 for i in range(5)]
    with jax.enable_x64(True):
        found = linalg.side_by_side(calls)
    assert [a.dtype for a in found] == [np.float64] * 5
    np.testing.assert_array_equal(found, np.repeat(np.arange(5.0), 2).reshape(5, 2) / 3)
    assert linalg.side_by_side(calls)[4].dtype == np.float32
    assert linalg.side_by_side([]) == []

    def broken():
        raise ValueError("x: expected better")

    with pytest.raises(ValueError, match="x: expected better"):
        linalg.side_by_side([calls[0], broken, calls[1]])


def test_only_concrete_arrays_of_a_cpu_are_on_the_host():
    x = jnp.ones(3)
    assert linalg.on_host(x, x) == (jax.default_backend() == "cpu")
    assert not linalg.on_host(x, np.ones(3))
    jax.jit(lambda a: pytest.fail("a traced array has no place") if linalg.on_host(x, a) else a)(x)
