"""Debiased CKA of a stream is that of the whole sample: any batch sizes, any order, both precisions."""

import operator
from functools import reduce
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repgeo import similarity as sim
from repgeo.debiased_moments import DebiasedMoments, TwoFloat, debiased_moments
from repgeo.moments import moments

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "similarity.npz", allow_pickle=False))
BARS = {np.float64: 1e-12, np.float32: 2e-6}


def golden(k, offset=0.0):
    return tuple(GOLDEN[f"pair{k}/{side}"] + offset for side in "XY")


def song(x, y):
    """Unbiased HSIC as Song et al. print it, on n x n Gram matrices in float64 with features centred first."""
    x, y = (np.asarray(a, np.float64) - np.asarray(a, np.float64).mean(0) for a in (x, y))
    n = len(x)
    k, m = (a @ a.T for a in (x, y))
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    total = np.sum(k * m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * k.sum(0) @ m.sum(0)
    return total / (n * (n - 3))


def cka_debiased(x, y):
    return song(x, y) / np.sqrt(song(x, x)) / np.sqrt(song(y, y))


def error(got, right):
    """Relative; a value under .1 is a difference of larger terms, so its error is taken relative to 1, not to it."""
    return abs(float(got) - right) / (abs(right) if abs(right) > 0.1 else 1)


def parts(x, y, size):
    return [debiased_moments(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def tree(found):
    while len(found) > 1:
        found = [reduce(operator.add, found[i : i + 2]) for i in range(0, len(found), 2)]
    return found[0]


def orders(found, seed=0):
    """The same batches added forward, backward, in a tree, shuffled, and in a tree of the shuffled ones."""
    shuffled = [found[i] for i in np.random.default_rng(seed).permutation(len(found))]
    return {
        "forward": reduce(operator.add, found),
        "backward": reduce(operator.add, found[::-1]),
        "tree": tree(found),
        "shuffled": reduce(operator.add, shuffled),
        "shuffled tree": tree(shuffled),
    }


def pair(n, p, q, seed=0, offset=0.0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, p))
    return x + offset, x[:, :1] + random.normal(size=(n, q)) + offset


@pytest.mark.parametrize("size", [7, 50, "n"])
@pytest.mark.parametrize("dtype", BARS)
@pytest.mark.parametrize("k", range(6))
def test_a_stream_gives_the_debiased_cka_of_the_whole_in_any_order(k, dtype, size):
    right = float(GOLDEN[f"pair{k}/ref/cka_linear_debiased"])
    with jax.enable_x64(dtype == np.float64):
        x, y = (a.astype(dtype) for a in golden(k))
        for order, m in orders(parts(x, y, len(x) if size == "n" else size)).items():
            assert error(sim.cka_debiased_from(m), right) < BARS[dtype], order


@pytest.mark.parametrize("size", [1, 2, 7, 50])
@pytest.mark.parametrize("dtype", BARS)
@pytest.mark.parametrize("k", range(6))
def test_an_offset_of_1000_costs_no_digit_beyond_those_the_inputs_lost(k, dtype, size):
    with jax.enable_x64(dtype == np.float64):
        x, y = (a.astype(dtype) for a in golden(k, offset=1000.0))
        right = cka_debiased(x, y)  # of the rounded inputs: rounding 1 000 + x to float32 is no fault of the sums
        for order, m in orders(parts(x, y, size)).items():
            assert error(sim.cka_debiased_from(m), right) < BARS[dtype], order


def test_what_plain_float32_sums_would_do_is_outside_the_bar():
    x, y = (a.astype(np.float32) for a in golden(5))
    values = []
    for a, b in ((x, y), (x, x), (y, y)):
        n, a, b = len(a), a - a.mean(0), b - b.mean(0)
        t, u = np.sum(a * a, 1), np.sum(b * b, 1)
        values.append(np.sum((a.T @ b) ** 2) - n / (n - 2) * t @ u + t.sum() * u.sum() / ((n - 1) * (n - 2)))
    plain = values[0] / np.sqrt(values[1]) / np.sqrt(values[2])
    assert error(plain, float(GOLDEN["pair5/ref/cka_linear_debiased"])) > 2 * BARS[np.float32]


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6))
def test_neither_order_nor_sizes_of_batches_matter(seed):
    random = np.random.default_rng(seed)
    x, y = pair(60, 4, 3, seed, offset=5.0)
    with jax.enable_x64(True):
        rows = [part for i in range(0, 60, 20) for part in np.split(np.arange(i, i + 20), [1, 3, 8])]
        rows = [random.permutation(part) for part in rows]
        random.shuffle(rows)
        m = reduce(operator.add, [debiased_moments(x[part], y[part]) for part in rows])
        assert error(sim.cka_debiased_from(m), cka_debiased(x, y)) < 1e-12


def test_a_sorted_stream_whose_batches_lie_far_apart_keeps_the_bar():
    x, y = pair(120, 4, 3)
    order = np.argsort(x[:, 0])
    x, y = x[order].astype(np.float32), y[order].astype(np.float32)
    right = cka_debiased(x, y)
    for m in orders(parts(x, y, 7)).values():
        assert error(sim.cka_debiased_from(m), right) < BARS[np.float32]


def test_a_batch_longer_than_a_block_is_read_in_blocks_and_gives_the_same():
    x, y = pair(1500, 5, 3, offset=1000.0)
    with jax.enable_x64(True):
        whole, halves = debiased_moments(x, y), debiased_moments(x[:700], y[:700]) + debiased_moments(x[700:], y[700:])
        assert float(whole.n) == float(halves.n) == 1500
        for m in (whole, halves):
            assert error(sim.cka_debiased_from(m), cka_debiased(x, y)) < 1e-12


def test_its_sums_are_those_of_the_centred_rows():
    x, y = pair(30, 4, 3, offset=2.0)
    with jax.enable_x64(True):
        m = debiased_moments(x[:11], y[:11]) + debiased_moments(x[11:], y[11:])
        z = np.column_stack([(x - x.mean(0)) / m.scale[0], (y - y.mean(0)) / m.scale[1]])
        c = np.column_stack([np.sum(z[:, :4] ** 2, 1), np.sum(z[:, 4:] ** 2, 1)])
        for name, right in {"zz": z.T @ z, "cz": c.T @ z, "cc": c.T @ c}.items():
            np.testing.assert_allclose(float_of(getattr(m, name)), right, rtol=1e-12, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(float_of(m.mean), np.r_[x.mean(0), y.mean(0)], rtol=1e-14)


def float_of(a):
    return np.asarray(a.head, np.float64) + np.asarray(a.rest, np.float64)


def test_it_contains_the_moments_that_linear_measures_read():
    x, y = pair(60, 4, 3, offset=100.0)
    with jax.enable_x64(True):
        m = reduce(operator.add, parts(x, y, 7)).second
        for mine, other in zip(jax.tree.leaves(m), jax.tree.leaves(moments(x, y)), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(sim.cka_from(m), sim.cka(jnp.asarray(x), jnp.asarray(y)), rtol=1e-12)


def test_the_unbiased_hsic_of_a_stream_is_that_of_song():
    x, y = pair(60, 4, 3, offset=3.0)
    with jax.enable_x64(True):
        m = reduce(operator.add, parts(7 * x, y / 3, 7))
        np.testing.assert_allclose(sim.hsic_unbiased_from(m), song(7 * x, y / 3), rtol=1e-12)


@pytest.mark.parametrize("n", [4, 5, 6])
def test_four_rows_are_enough(n):
    x, y = pair(n, 3, 2)
    with jax.enable_x64(True):
        assert error(sim.cka_debiased_from(reduce(operator.add, parts(x, y, 1))), cka_debiased(x, y)) < 1e-12


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e12, 1e30])
def test_it_is_right_at_any_scale(size):
    x, y = (a.astype(np.float32) for a in pair(40, 4, 3))
    right = cka_debiased(x, y)
    for a, b in ((np.float32(size) * x, y), (x, np.float32(size) * y)):
        got = sim.cka_debiased_from(reduce(operator.add, parts(a, b, 7)))
        assert error(got, right) < 5e-6  # scaling by what is no power of two rounds the inputs


def test_batches_of_very_different_scale_add_up():
    x, y = pair(60, 4, 3)
    x[:20] *= 1e-12
    x[40:] *= 1e12
    x, y = x.astype(np.float32), y.astype(np.float32)
    for m in orders(parts(x, y, 20)).values():
        assert error(sim.cka_debiased_from(m), cka_debiased(x, y)) < BARS[np.float32]


def test_a_constant_feature_carries_nothing():
    x, y = (a.astype(np.float32) for a in pair(40, 4, 3))
    wider = np.column_stack([x, np.full(40, 1e4 / 3, np.float32)])
    got, right = (sim.cka_debiased_from(reduce(operator.add, parts(a, y, 7))) for a in (wider, x))
    assert got == pytest.approx(float(right), rel=2e-6)


def test_it_scans_like_a_stream():
    x, y = (jnp.asarray(a, jnp.float32).reshape(6, 20, -1) for a in pair(120, 4, 3, offset=1000.0))

    @jax.jit
    def value(xs, ys):
        first = debiased_moments(xs[0], ys[0])
        m = jax.lax.scan(lambda m, b: (m + debiased_moments(*b), None), first, (xs[1:], ys[1:]))[0]
        return sim.cka_debiased_from(m)

    assert error(value(x, y), cka_debiased(x.reshape(120, 4), y.reshape(120, 3))) < BARS[np.float32]


def test_it_maps_over_pairs_and_reduces_shards():
    x, y = pair(160, 4, 3)
    with jax.enable_x64(True):
        shards = jax.vmap(debiased_moments)(jnp.asarray(x).reshape(8, 20, 4), jnp.asarray(y).reshape(8, 20, 3))
        for half in (4, 2, 1):
            left, right = (jax.tree.map(lambda a, s=s: a[s], shards) for s in (slice(0, half), slice(half, None)))
            shards = jax.vmap(operator.add)(left, right)
        assert error(jax.vmap(sim.cka_debiased_from)(shards)[0], cka_debiased(x, y)) < 1e-12


def test_its_gradient_is_that_of_the_array():
    x, y = pair(40, 4, 3)
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)
        through = jax.grad(
            lambda a: sim.cka_debiased_from(debiased_moments(a[:15], y[:15]) + debiased_moments(a[15:], y[15:]))
        )(x)
        np.testing.assert_allclose(through, jax.grad(lambda a: sim.cka_debiased(a, y))(x), rtol=1e-9, atol=1e-12)


def test_it_is_a_pytree_of_arrays_whose_size_does_not_grow_with_the_stream():
    x, y = pair(60, 4, 3)
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(reduce(operator.add, parts(x[:n], y[:n], 7)))) for n in (20, 60)]
    assert sizes[0] == sizes[1]
    leaves, structure = jax.tree.flatten(debiased_moments(x, y))
    assert isinstance(jax.tree.unflatten(structure, leaves), DebiasedMoments)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)


def test_a_two_float_number_keeps_what_one_float_drops():
    one, small = (TwoFloat(jnp.float32(a), jnp.float32(0)) for a in (1.0, 2.0**-30))
    assert float_of(one + small) == 1 + 2.0**-30
    third = np.float32(1 / 3)
    square = TwoFloat(jnp.asarray(third), jnp.float32(0)) * TwoFloat(jnp.asarray(third), jnp.float32(0))
    assert float_of(square) == pytest.approx(float(third) ** 2, rel=1e-10)
    assert float(square.head) != float(third) ** 2


def test_batches_of_other_widths_do_not_add_up():
    x, y = pair(20, 4, 3)
    with pytest.raises(ValueError, match=r"batches of equal widths; got \(4, 3\) and \(3, 3\)"):
        debiased_moments(x, y) + debiased_moments(x[:, :3], y)


def test_a_batch_may_be_one_row_or_constant_but_not_empty_nor_broken():
    x, y = pair(20, 4, 3)
    assert not np.asarray(debiased_moments(x[:1], y[:1]).zz.head).any()
    assert not np.asarray(debiased_moments(np.ones((5, 2)), np.ones((5, 2))).cc.head).any()
    with pytest.raises(ValueError, match="at least 1 samples"):
        debiased_moments(x[:0], y[:0])
    with pytest.raises(ValueError, match=r"\(20, 4\) and \(19, 3\)"):
        debiased_moments(x, y[1:])
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="x: expected finite.*row 3, column 1"):
        debiased_moments(x, y)
    with pytest.raises(TypeError, match="y: expected real numbers; got dtype <U"):
        debiased_moments(y, y.astype(str))


@pytest.mark.parametrize("read", [sim.cka_debiased_from, sim.hsic_unbiased_from], ids=lambda f: f.__name__)
def test_readers_refuse_what_has_no_value(read):
    x, y = pair(20, 4, 3)
    whole = debiased_moments(x, y)
    with pytest.raises(TypeError, match="m: expected DebiasedMoments.*; got Moments"):
        read(moments(x, y))
    with pytest.raises(ValueError, match="m: expected at least 4 samples.*; got n = 3"):
        read(debiased_moments(x[:3], y[:3]))
    with pytest.raises(ValueError, match="m: expected rows that differ; got no spread in y over n = 20"):
        read(debiased_moments(x, np.ones((20, 2))))
    with pytest.raises(ValueError, match="m: expected finite sums; got NaN or inf in m.cz"):
        read(DebiasedMoments(**{**vars(whole), "cz": jax.tree.map(lambda a: a.at[0].set(jnp.nan), whole.cz)}))
    with pytest.raises(ValueError, match="one sample; got a batch"):
        read(jax.tree.map(lambda a: a[None], whole))


def test_one_row_apart_from_identical_others_has_no_debiased_alignment():
    x, y = pair(12, 4, 3)
    x[1:] = x[1]
    with pytest.raises(ValueError, match="debiased HSIC of an argument with itself is 0"):
        sim.cka_debiased_from(debiased_moments(x, y))
    assert np.isnan(jax.jit(lambda a, b: sim.cka_debiased_from(debiased_moments(a, b)))(x, y))
