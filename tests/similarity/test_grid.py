"""A grid of layers holds what the double loop over pairs holds, for less work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import similarity as sim
from repgeo.similarity import kernels

N = 14
NEIGHBOURS = (sim.mutual_knn, sim.knn_jaccard, sim.cknna, sim.cknna_unbiased, sim.cycle_knn)
NEEDED = {sim.gulp: {"ridge": 0.1}} | {m: {"k": 3} for m in NEIGHBOURS}
CASES = [(m, NEEDED.get(m, {})) for m in sim.MEASURES] + [
    (sim.cka_rbf, {"bandwidth": 0.8, "debiased": True}),
    (sim.svcca, {"threshold": 0.8, "on": "singular"}),
    (sim.gulp, {"ridge": 0.0}),
    (sim.procrustes, {"normalized": True}),
    (sim.shape_distance, {"alpha": 0.0}),
    (sim.shape_distance, {"alpha": 0.5}),
    (sim.rsa, {"distance": "cosine", "correlation": "kendall"}),
    (sim.rsa, {"distance": "euclidean", "correlation": "pearson"}),
    (sim.distance_correlation, {"unbiased": True}),
    (sim.mutual_knn, {"k": 5, "metric": "euclidean"}),
    (sim.cknna_unbiased, {"k": 6, "metric": "inner"}),
]


def layers(widths, n=N, seed=0):
    """Layers of a common latent; a width above n makes a layer wider than tall."""
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, 3))
    return [(z @ random.normal(size=(3, p)) + 0.7 * random.normal(size=(n, p))).astype(np.float32) for p in widths]


def loop(measure, xs, ys, **options):
    return np.array([[float(measure(x, y, **options)) for y in ys] for x in xs])


@pytest.mark.parametrize(("measure", "options"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_a_grid_equals_the_double_loop_over_layers_of_any_width(measure, options):
    xs = layers([4, 20])
    ys = layers([4, 3, 20], seed=1)
    with jax.enable_x64(True):
        xs, ys = ([a.astype(np.float64) for a in side] for side in (xs, ys))
        got = sim.grid(measure, xs, ys, **options)
        assert got.shape == (2, 3)
        np.testing.assert_allclose(got, loop(measure, xs, ys, **options), rtol=1e-9, atol=1e-9)
        got = sim.grid(measure, xs, **options)
        # the distance of a layer to itself is rounding, whose root is larger
        np.testing.assert_allclose(got, loop(measure, xs, xs, **options), rtol=1e-7, atol=1e-7)


def test_the_order_of_arguments_is_kept_by_asymmetric_measures():
    xs = layers([4, 6])
    for measure in (sim.pwcca, sim.linear_predictivity):
        got = np.asarray(sim.grid(measure, xs))
        np.testing.assert_allclose(got, loop(measure, xs, xs), rtol=1e-5)
        assert abs(got[0, 1] - got[1, 0]) > 1e-3


def test_float32_equals_the_loop_to_rounding():
    xs = layers([4, 20])
    for measure in (sim.cka, sim.cka_debiased, sim.hsic_unbiased, sim.nbs):
        np.testing.assert_allclose(sim.grid(measure, xs), loop(measure, xs, xs), rtol=3e-5, atol=1e-5)


def test_an_offset_of_a_thousand_deviations_does_not_cost_the_digits():
    xs = layers([4, 9])
    moved = [x + np.float32(1000) for x in xs]
    exact = [x.astype(np.float64) - 1000 for x in moved]
    with jax.enable_x64(True):
        expected = np.asarray(sim.grid(sim.cka_debiased, exact))
    np.testing.assert_allclose(sim.grid(sim.cka_debiased, moved), expected, atol=1e-5)


@pytest.mark.parametrize("n", [7, 64, 65, 200, 201, 331])
def test_gram_tiles_cover_every_pair_of_rows_once(n, monkeypatch):
    """One small tile, full ones, and sizes that no number of tiles divides."""
    monkeypatch.setattr(kernels, "_TILE_BYTES", 0)  # the smallest tiles there are
    xs = layers([4, 4], n=n)
    with jax.enable_x64(True):
        xs = [x.astype(np.float64) for x in xs]
        for measure in (sim.cka, sim.cka_debiased):
            np.testing.assert_allclose(sim.grid(measure, xs), loop(measure, xs, xs), rtol=1e-10)


def test_the_tiles_of_a_dozen_layers_take_little_memory():
    shapes = [jax.ShapeDtypeStruct((2000, 16), jnp.float32)] * 12
    memory = kernels._gram_products.lower(shapes).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 32 * 2**20


def test_any_callable_may_be_the_measure():
    xs = layers([4, 6])
    np.testing.assert_array_equal(sim.grid(lambda x, y: x.shape[1] - y.shape[1], xs), [[0, -2], [2, 0]])

    def scaled(x, y, *, by):
        return by * sim.cka(x, y)

    np.testing.assert_allclose(sim.grid(scaled, xs, xs[:1], by=2), 2 * loop(sim.cka, xs, xs[:1]), rtol=1e-6)


def test_units_are_matched_for_every_pair():
    xs = layers([4, 6])
    np.testing.assert_allclose(sim.grid(sim.match_units, xs), loop(sim.match_units, xs, xs), rtol=1e-6)


def test_layers_of_one_width_compile_one_comparison():
    from repgeo.similarity.shape import _cosine

    xs, ys = layers([5, 5, 5], n=17), layers([5, 5], n=17, seed=1)
    before = _cosine._cache_size()
    sim.grid(sim.nbs, xs, ys)
    assert _cosine._cache_size() - before <= 1


def test_layers_of_many_widths_share_one_comparison():
    from repgeo.similarity.canonical import _correlations

    xs = layers([3, 4, 6, 7], n=18)
    before = _correlations._cache_size()
    sim.grid(sim.mean_cca, xs)
    assert _correlations._cache_size() - before <= 2  # the padded pairs, and the door's own first pair


def test_each_layer_is_prepared_once(monkeypatch):
    from repgeo.similarity.record import Split

    calls = []

    def prepare(x, **options):
        calls.append(x.shape)
        return sim.nbs.split.prepare(x, **options)

    def counted(x, y):
        return sim.nbs(x, y)

    counted.record, counted.split = sim.nbs.record, Split(prepare, sim.nbs.split.compare)
    xs = layers([3, 4, 6])
    np.testing.assert_allclose(sim.grid(counted, xs), loop(sim.nbs, xs, xs), rtol=1e-5)
    assert len(calls) == 3


def test_layers_of_mixed_precision_are_compared_in_the_higher_one():
    x, y = layers([4, 6])
    with jax.enable_x64(True):
        for measure in (sim.cka, sim.nbs, sim.rsa):
            got = sim.grid(measure, [x, y.astype(np.float64)])
            assert got.dtype == jnp.float64
            np.testing.assert_allclose(got, loop(measure, [x, y], [x, y]), rtol=1e-4, atol=1e-5)


def test_integer_layers_are_accepted():
    xs = [np.round(4 * x).astype(int) for x in layers([4, 6])]
    np.testing.assert_allclose(sim.grid(sim.cka, xs), loop(sim.cka, xs, xs), rtol=1e-5)


def test_errors_name_the_layer():
    good, bad = layers([4, 4])
    bad = bad.copy()
    bad[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"xs\[1\]: expected finite values; got 1 NaN"):
        sim.grid(sim.cka, [good, bad])
    with pytest.raises(ValueError, match=r"ys\[0\]: expected rows that differ"):
        sim.grid(sim.nbs, [good], [np.ones((N, 2))])
    with pytest.raises(ValueError, match=r"xs\[0\]: expected at least 4 samples"):
        sim.grid(sim.cka_debiased, [good[:3]])
    with pytest.raises(TypeError, match=r"xs\[1\]: expected real numbers"):
        sim.grid(sim.cka, [good, good.astype(str)])


def test_a_grid_without_layers_or_of_one_matrix_is_refused():
    x = layers([4])[0]
    for empty in ([], ()):
        with pytest.raises(ValueError, match="xs: expected a sequence of matrices"):
            sim.grid(sim.cka, empty)
    with pytest.raises(ValueError, match="ys: expected a sequence of matrices"):
        sim.grid(sim.cka, [x], [])
    for single in (x, jnp.asarray(x)):
        with pytest.raises(ValueError, match=r"xs.*"):
            sim.grid(sim.cka, single)


def test_unequal_numbers_of_samples_are_refused():
    x = layers([4])[0]
    with pytest.raises(ValueError, match=r"layers: expected one number of samples; got \[13, 14\]"):
        sim.grid(sim.cka, [x], [x[:-1]])


def test_a_stack_of_layers_of_one_width_is_a_sequence():
    xs = np.stack(layers([4, 4]))
    np.testing.assert_allclose(sim.grid(sim.cka, xs), sim.grid(sim.cka, jnp.asarray(xs)))


@pytest.mark.parametrize("measure", [sim.svcca, sim.mutual_knn, sim.rsa], ids=lambda m: m.__name__)
def test_options_are_checked_once_for_all_pairs(measure):
    option, bad = {"svcca": ("threshold", 2), "mutual_knn": ("k", N), "rsa": ("distance", "l1")}[measure.__name__]
    with pytest.raises(ValueError, match=f"^{option}: "):
        sim.grid(measure, layers([4, 4]), **{option: bad})


def test_a_row_without_direction_in_a_later_layer_is_not_compared_silently():
    a, b = layers([4, 4])
    b[3] = 0
    with pytest.raises(ValueError, match="direction"):
        sim.grid(sim.mutual_knn, [a, b], k=3)


def test_a_grid_can_be_compiled_and_differentiated():
    x, y = (jnp.asarray(a) for a in layers([4, 6]))
    for measure in (sim.cka, sim.nbs):
        got = jax.jit(lambda a, b, m=measure: sim.grid(m, [a, b]))(x, y)
        np.testing.assert_allclose(got, loop(measure, [x, y], [x, y]), rtol=1e-5)
        slope = jax.grad(lambda a, m=measure: sim.grid(m, [a, y])[0, 1])(x)
        np.testing.assert_allclose(slope, jax.grad(lambda a, m=measure: m(a, y))(x), rtol=1e-3, atol=1e-6)
