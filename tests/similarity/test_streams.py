"""Mini-batch CKA: a ratio of sums, near the value of all rows, whatever the last batch is."""

import operator
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import similarity as sim
from repgeo.similarity import streams


def sides(n, p, q, seed=0, noise=1.0, offset=0.0):
    """A shared part with falling variances and a private part on each side."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=(n, 40)) * np.arange(1, 41) ** -0.5
    return tuple(
        (shared @ random.normal(size=(40, d)) / 6 + noise * random.normal(size=(n, d)) / 3 + offset).astype(np.float32)
        for d in (p, q)
    )


def cut(x, y, size):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def song(x, y):
    """n (n - 3) times unbiased HSIC as Song et al. print it, in float64."""
    x, y = (np.asarray(a, np.float64) - np.asarray(a, np.float64).mean(0) for a in (x, y))
    n = len(x)
    k, m = (a @ a.T for a in (x, y))
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    return np.sum(k * m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * k.sum(0) @ m.sum(0)


def ratio_of_sums(batches):
    """The definition of Nguyen et al., a batch counting by n (n - 3)."""
    xy, xx, yy = (sum(song(b[i], b[j]) for b in batches) for i, j in ((0, 1), (0, 0), (1, 1)))
    return xy / np.sqrt(xx * yy)


@pytest.mark.parametrize("last", [37, 5, 3, 1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_within_3e_3_of_the_full_value_at_batch_64_with_an_unequal_last_batch(last, seed):
    x, y = sides(2048 + last, 300, 200, seed)
    full = float(sim.cka_debiased(x, y))
    assert 0.3 < full < 0.95
    assert float(sim.cka_minibatch(cut(x, y, 64))) == pytest.approx(full, abs=3e-3)


@pytest.mark.parametrize("measure", [sim.cka, sim.cka_debiased], ids=lambda m: m.__name__)
def test_the_mean_of_values_per_batch_is_not(measure):
    misses = []
    for seed in (0, 1, 2):
        x, y = sides(2048 + 5, 300, 200, seed)
        mean = np.mean([float(measure(*batch)) for batch in cut(x, y, 64)])
        misses.append(abs(mean - float(sim.cka_debiased(x, y))))
    assert min(misses) > 3e-3


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_it_is_the_ratio_of_summed_unbiased_hsic(offset):
    x, y = sides(150, 30, 20, offset=offset)
    batches = cut(x, y, 64)
    assert [len(a) for a, _ in batches] == [64, 64, 22]
    assert float(sim.cka_minibatch(batches)) == pytest.approx(ratio_of_sums(batches), abs=2e-6)


def test_one_batch_is_the_debiased_cka_of_all_rows():
    x, y = sides(60, 30, 20)
    assert float(sim.cka_minibatch([(x, y)])) == pytest.approx(float(sim.cka_debiased(x, y)), abs=2e-6)


@pytest.mark.parametrize(
    ("sizes", "joined"),
    [
        ([20, 20, 3], [20, 23]),
        ([3, 20, 20], [23, 20]),
        ([20, 2, 20], [20, 22]),
        ([2, 2, 2, 2, 20], [4, 4, 20]),
        ([20, 1, 1, 1], [23]),
        ([1] * 9, [4, 5]),
        ([4, 4], [4, 4]),
        ([0, 20, 0], None),
    ],
)
def test_batches_below_4_rows_join_a_neighbour_and_no_row_is_lost(sizes, joined):
    x, y = sides(sum(sizes), 5, 4)
    edges = np.cumsum([0, *sizes])
    batches = [(x[a:b], y[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    if joined is None:
        with pytest.raises(ValueError, match=r"batches\[0\].x\[0\]: expected at least 1 samples"):
            sim.cka_minibatch(batches)
        return
    edges = np.cumsum([0, *joined])
    expected = ratio_of_sums([(x[a:b], y[a:b]) for a, b in zip(edges, edges[1:], strict=False)])
    assert float(sim.cka_minibatch(batches)) == pytest.approx(expected, abs=1e-5)


def test_a_generator_is_read_once_and_two_batches_at_a_time():
    x, y = sides(200, 5, 4)
    held, most = set(), []

    class Batch(np.ndarray):
        def __del__(self):
            held.discard(id(self))

    def stream():
        for i in range(0, 200, 20):
            a = x[i : i + 20].copy().view(Batch)
            held.add(id(a))
            yield a, y[i : i + 20]
            del a
            most.append(len(held))

    assert float(sim.cka_minibatch(stream())) == pytest.approx(float(sim.cka_minibatch(cut(x, y, 20))), abs=1e-6)
    assert len(most) == 10 and max(most) <= 2


def test_one_compilation_serves_every_batch_of_a_shape():
    x, y = sides(210, 11, 7)
    before = streams._gram_sums._cache_size()
    sim.cka_minibatch(cut(x, y, 50))
    assert streams._gram_sums._cache_size() - before == 2  # of 50 rows and of 10


def test_a_grid_of_layers_holds_the_value_of_every_pair():
    x, y = sides(130, 30, 20)
    xs, ys = [x, x**2], [y, np.abs(y), x[:, :3]]
    got = sim.cka_minibatch_grid(([a[i : i + 64] for a in xs], [b[i : i + 64] for b in ys]) for i in range(0, 130, 64))
    expected = [[float(sim.cka_minibatch(cut(a, b, 64))) for b in ys] for a in xs]
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)


def test_sums_of_a_grid_add_up_in_any_order():
    x, y = sides(120, 30, 20)
    found = [sim.minibatch_grid([x[i : i + 40], y[i : i + 40]]) for i in (0, 40, 80)]
    forward, backward = (sim.cka_minibatch_from(reduce(operator.add, f)) for f in (found, found[::-1]))
    np.testing.assert_allclose(forward, backward, rtol=1e-6)
    assert forward[0, 1] == pytest.approx(float(sim.cka_minibatch(cut(x, y, 40))), abs=1e-6)
    np.testing.assert_allclose(jnp.diagonal(forward), 1, rtol=1e-6)
    both = sim.minibatch_grid([x, y], [x, y])
    for mine, other in zip(jax.tree.leaves(sim.minibatch_grid([x, y])), jax.tree.leaves(both), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5)


def test_float64_is_kept():
    with jax.enable_x64(True):
        x, y = (a.astype(np.float64) for a in sides(150, 30, 20, offset=10.0))
        assert float(sim.cka_minibatch(cut(x, y, 64))) == pytest.approx(ratio_of_sums(cut(x, y, 64)), rel=1e-11)


def test_it_compiles_maps_over_pairs_and_has_a_gradient():
    x, y = (jnp.asarray(a) for a in sides(60, 6, 5))

    def value(x, y):
        return sim.cka_minibatch(cut(x, y, 25))

    right = float(value(x, y))
    assert float(jax.jit(value)(x, y)) == pytest.approx(right, abs=1e-6)
    mapped = jax.vmap(value)(jnp.stack([x, 2 * x, x**2]), jnp.stack([y, y + 1, y]))
    np.testing.assert_allclose(mapped, [right, right, float(value(x**2, y))], rtol=0, atol=2e-6)
    slope = jax.grad(value)(x, y)
    with jax.enable_x64(True):
        x, y, step = np.asarray(x, np.float64), np.asarray(y, np.float64), np.zeros((60, 6))
        step[3, 2] = 1e-5
        numeric = (ratio_of_sums(cut(x + step, y, 25)) - ratio_of_sums(cut(x - step, y, 25))) / 2e-5
    assert float(slope[3, 2]) == pytest.approx(numeric, rel=1e-3)


def test_a_constant_batch_counts_for_nothing_and_a_constant_stream_has_no_value():
    x, y = sides(60, 6, 5)
    still = (np.ones((20, 6), np.float32), y[:20])
    assert float(sim.cka_minibatch([(x, y), still])) == pytest.approx(float(sim.cka_minibatch([(x, y)])), rel=0.5)
    with pytest.raises(ValueError, match="debiased HSIC of an argument with itself is 0"):
        sim.cka_minibatch([still, still])
    found = sim.cka_minibatch_grid([([x[:20], still[0]], [y[:20]])])
    assert np.isfinite(found[0, 0]) and np.isnan(found[1, 0])
    assert np.isnan(jax.jit(lambda a, b: sim.cka_minibatch([(a, b)]))(*still))


X, Y = sides(20, 6, 5)
SPOILED = X.copy()
SPOILED[4, 2] = np.nan
BAD = {
    "no iterable": (5, TypeError, "batches: expected an iterable of pairs .* got int"),
    "an array": (np.ones((4, 2)), TypeError, "batches: expected an iterable of pairs .* got ndarray"),
    "one pair alone": ((X, Y), TypeError, r"batches\[0\]: expected a pair \(x, y\); got ndarray"),
    "triples": ([(X, Y, Y)], TypeError, r"batches\[0\]: expected a pair \(x, y\); got 3 items"),
    "nothing": ([], ValueError, "batches: expected at least 4 samples .* got 0"),
    "three rows": ([(X[:2], Y[:2]), (X[:1], Y[:1])], ValueError, "at least 4 samples .* got 3"),
    "unequal rows": ([(X, Y), (X, Y[1:])], ValueError, r"batches\[1\]: expected one number of samples; got \[19, 20\]"),
    "unequal widths": ([(X, Y), (X[:, 1:], Y)], ValueError, r"batches\[1\]: expected widths \[\[6\], \[5\]\].*\[\[5\]"),
    "one axis": ([(X[:, 0], Y)], ValueError, r"batches\[0\].x\[0\]: expected a matrix .*\(20,\)"),
    "text": ([(X, Y.astype(str))], TypeError, r"batches\[0\].y\[0\]: expected real numbers"),
    "NaN": ([(X, Y), (SPOILED, Y)], ValueError, "layer 0 of x: expected finite values; .*row 4, column 2"),
    "overflow": ([(1e15 * X, Y)], ValueError, "too small or too large for this dtype"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_batches_are_one_error_that_says_which(what):
    batches, error, says = BAD[what]
    with pytest.raises(error, match=says):
        sim.cka_minibatch(batches)


def test_bad_layers_are_one_error_that_says_which():
    with pytest.raises(ValueError, match=r"xs\[1\]: expected a matrix"):
        sim.minibatch_grid([X, X[0]])
    with pytest.raises(ValueError, match=r"xs\[0\]: expected at least 4 samples"):
        sim.minibatch_grid([X[:3]])
    with pytest.raises(ValueError, match=r"layers: expected one number of samples; got \[19, 20\]"):
        sim.minibatch_grid([X], [Y[1:]])
    with pytest.raises(ValueError, match="ys: expected a sequence of matrices"):
        sim.minibatch_grid([X], [])
    with pytest.raises(ValueError, match="equal numbers of layers"):
        sim.minibatch_grid([X]) + sim.minibatch_grid([X, Y])
    with pytest.raises(TypeError, match="g: expected MinibatchGrid"):
        sim.cka_minibatch_from(X)
