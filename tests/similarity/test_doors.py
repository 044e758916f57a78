"""What the doors of `similarity`, `neighbors` and `moments` let in, and what they say when they do not.

On concrete input every function returns a finite value or raises one error that names the argument: never NaN.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import similarity as sim
from repgeo.moments import Moments, moments
from repgeo.neighbors import knn


def numbers(result):
    """Whatever a public function returns, as a NumPy array."""
    if isinstance(result, Moments):
        return np.concatenate([np.ravel(a) for a in jax.tree.leaves(result)])
    return np.asarray(getattr(result, "correlations", result), np.float64)


def streamed(measure, **options):
    return lambda x, y: measure(moments(x, y), **options)


PAIRED = {m.__name__: m for m in sim.MEASURES} | {
    "gulp": partial(sim.gulp, ridge=0.1),
    "mutual_knn": partial(sim.mutual_knn, k=2),
    "knn_jaccard": partial(sim.knn_jaccard, k=2),
    "cknna": partial(sim.cknna, k=2),
    "cknna_inner": partial(sim.cknna, k=2, metric="inner"),
    "cknna_unbiased": partial(sim.cknna_unbiased, k=3),
    "cycle_knn": partial(sim.cycle_knn, k=2),
    "cycle_knn_euclidean": partial(sim.cycle_knn, k=2, metric="euclidean"),
    "cka_rbf_debiased": partial(sim.cka_rbf, debiased=True),
    "distance_correlation_unbiased": partial(sim.distance_correlation, unbiased=True),
    "svcca_singular": partial(sim.svcca, on="singular"),
    "procrustes_normalized": partial(sim.procrustes, normalized=True),
    "shape_distance_white": partial(sim.shape_distance, alpha=0.0),
    "mutual_knn_euclidean": partial(sim.mutual_knn, k=2, metric="euclidean"),
    "mutual_knn_inner": partial(sim.mutual_knn, k=2, metric="inner"),
    "rsa_euclidean_pearson": partial(sim.rsa, distance="euclidean", correlation="pearson"),
    "rsa_cosine_kendall": partial(sim.rsa, distance="cosine", correlation="kendall"),
    "cca": sim.cca,
    "unit_correlations": sim.unit_correlations,
    "sparse_predict_units": lambda x, y: sim.sparse_predict_units(x, y, penalty=0.1).weights,
    "moments": moments,
    "cka_from": streamed(sim.cka_from),
    "cca_from": streamed(sim.cca_from),
    "svcca_from": streamed(sim.svcca_from),
    "procrustes_from": streamed(sim.procrustes_from),
    "grid": lambda x, y: sim.grid(sim.cka, [x], [y]),
}
MATRIX = {"knn": lambda x: knn(x, k=2)}
FUNCTIONS = PAIRED | {name: (lambda x, y, f=f: f(x)) for name, f in MATRIX.items()}
each_function = pytest.mark.parametrize("name", FUNCTIONS)
each_paired = pytest.mark.parametrize("name", PAIRED)
NO_MEASURE = {"grid", "moments"}  # a grid reports an undefined pair as NaN in its place


def good(n=12, p=4, q=3):
    random = np.random.default_rng(0)
    x = random.normal(size=(n, p)).astype(np.float32)
    return x, (x[:, :q] + 0.5 * random.normal(size=(n, q))).astype(np.float32)


def spoiled(value):
    x, _ = good()
    x[4, 2] = value
    return x


BAD = {  # input in place of x, the error, what its message must say
    "NaN": (spoiled(np.nan), ValueError, "finite values; got 1 NaN or inf .*row 4, column 2"),
    "infinity": (spoiled(-np.inf), ValueError, "finite values; got 1 NaN or inf .*row 4, column 2"),
    "one axis": (np.ones(12), ValueError, r"matrix .*shape \(12,\)"),
    "three axes": (np.ones((12, 2, 2)), ValueError, r"matrix .*shape \(12, 2, 2\)"),
    "no axis": (1.5, ValueError, r"matrix .*shape \(\)"),
    "no samples": (np.ones((0, 4)), ValueError, r"samples .*shape \(0, 4\)"),
    "one sample": (np.ones((1, 4)), ValueError, r"samples .*shape \(1, 4\)"),
    "no features": (np.ones((12, 0)), ValueError, r"1 feature; got shape \(12, 0\)"),
    "equal rows": (np.full((12, 4), 7.3), ValueError, "rows that differ; got 12 identical rows"),
    "objects": (good()[0].astype(object), TypeError, "real numbers; got dtype object"),
    "text": (good()[0].astype(str), TypeError, "real numbers; got dtype <U"),
    "complex": (good()[0].astype(complex), TypeError, "real numbers; got dtype complex"),
    "dates": (np.zeros((12, 4), "datetime64[s]"), TypeError, "real numbers; got dtype datetime64"),
    "nothing": (None, TypeError, "real numbers; got dtype object"),
    "ragged rows": ([[1.0, 2.0]] * 11 + [[1.0]], ValueError, "rows of equal length"),
    "too large for float32": (good()[0].astype(np.float64) * 1e60, ValueError, "NaN or inf .as float32."),
}
MAY_BE_CONSTANT = {"moments"}


@pytest.mark.parametrize("what", BAD)
@each_function
def test_bad_input_is_one_error_that_names_the_argument(name, what):
    bad, error, says = BAD[what]
    if name in MAY_BE_CONSTANT and what in ("equal rows", "one sample"):
        assert np.isfinite(numbers(FUNCTIONS[name](bad, bad))).all()
        return
    x, y = good()
    argument = r"xs\[0\]: " if name == "grid" else "x: "
    if name.endswith("_from") and what in ("equal rows", "one sample"):
        argument, says = "", "rows that differ|one row per sample"
    with pytest.raises(error, match=f"{argument}.*({says})"):
        FUNCTIONS[name](bad, y)
    if name in PAIRED:
        argument = argument.replace("x", "y", 1)
        with pytest.raises(error, match=f"{argument}.*({says})"):
            FUNCTIONS[name](x, bad)


@each_paired
def test_unequal_numbers_of_samples_are_refused(name):
    x, y = good()
    with pytest.raises(ValueError, match=r"samples?.*"):
        PAIRED[name](x, y[:-1])


FOUR = ["hsic_unbiased", "cka_debiased", "cka_rbf_debiased", "distance_correlation_unbiased", "cknna_unbiased"]


@each_function
def test_three_samples_give_a_finite_value_or_an_error_that_says_how_many_are_needed(name):
    x, y = good()
    try:
        assert np.isfinite(numbers(FUNCTIONS[name](x[:3], y[:3]))).all()
    except ValueError as error:
        assert "at least 4 samples" in str(error)
        assert name in FOUR


@pytest.mark.parametrize("name", FOUR)
def test_four_samples_are_enough_for_a_debiased_measure(name):
    x, y = good()
    assert np.isfinite(numbers(FUNCTIONS[name](x[:4], y[:4]))).all()


@each_function
def test_a_constant_feature_gives_a_finite_value(name):
    x, y = (np.column_stack([a, np.full(12, 0.1, np.float32)]) for a in good())
    assert np.isfinite(numbers(FUNCTIONS[name](x, y))).all()


IGNORE_CONSTANTS = [
    "hsic", "hsic_unbiased", "cka", "cka_debiased", "cka_rbf", "mean_cca", "svcca", "pwcca", "linear_predictivity",
    "gulp", "procrustes", "nbs", "shape_distance", "shape_distance_white", "distance_correlation", "cca",
    "rsa_euclidean_pearson", "mutual_knn_euclidean", "cycle_knn_euclidean", "cka_from", "cca_from",
    "svcca_from", "procrustes_from",
]  # fmt: skip


@pytest.mark.parametrize("name", IGNORE_CONSTANTS)
def test_a_constant_feature_carries_no_signal_whatever_its_value(name):
    x, y = good()
    spoiled_x = np.column_stack([x, np.full(12, 1e4 / 3, np.float32)])
    np.testing.assert_allclose(
        numbers(FUNCTIONS[name](spoiled_x, y)), numbers(FUNCTIONS[name](x, y)), rtol=2e-5, atol=2e-5
    )


ANGULAR = ["rsa", "rsa_cosine_kendall", "mutual_knn", "knn_jaccard", "cknna", "cknna_unbiased", "cycle_knn"]


@pytest.mark.parametrize("name", ANGULAR)
def test_a_row_without_direction_is_refused(name):
    x, y = good()
    x[5] = 0
    with pytest.raises(ValueError, match="direction"):
        FUNCTIONS[name](x, y)


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1e4 / 3])
def test_correlation_distance_takes_no_rounding_for_a_direction(constant):
    x = np.random.default_rng(0).normal(size=(12, 7)).astype(np.float32)
    x[3] = constant
    with pytest.raises(ValueError, match="direction"):
        sim.rsa(x, x)


@pytest.mark.parametrize("name", ["rsa", "rsa_cosine_kendall"])
def test_rsa_refuses_one_feature_where_directions_have_no_meaning(name):
    x, y = good()
    if name == "rsa":
        with pytest.raises(ValueError, match="direction"):
            FUNCTIONS[name](x[:, :1], y)
    else:
        assert np.isfinite(numbers(FUNCTIONS[name](x[:, :1], y)))


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"rsa"}))
def test_one_feature_against_several_gives_a_finite_value(name):
    x, y = good()
    assert np.isfinite(numbers(FUNCTIONS[name](x[:, :1], y))).all()


@each_function
def test_every_numeric_dtype_gives_what_its_float_copy_gives(name):
    x, y = good()
    f = FUNCTIONS[name]
    whole = [np.round(5 * a) + np.arange(1, 13)[:, None] for a in (x, y)]
    expected = numbers(f(*(a.astype(np.float32) for a in whole)))
    for dtype in (np.int64, np.int16, np.float64, np.float16, jnp.bfloat16):
        got = numbers(f(*(jnp.asarray(a.astype(dtype)) if dtype == jnp.bfloat16 else a.astype(dtype) for a in whole)))
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(numbers(f(*(a.tolist() for a in whole))), expected)
    flags = [np.column_stack([a > np.median(a), a[:, :1] < 9]) for a in (x, y)]  # the last: no row without a direction
    try:
        expected = numbers(f(*(a.astype(np.float32) for a in flags)))
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)[:20]):
            f(*flags)
        return
    np.testing.assert_array_equal(numbers(f(*flags)), expected)


@each_function
def test_the_result_is_single_precision_unless_64_bits_are_on(name):
    x, y = (a.astype(np.float64) for a in good())
    if name in ("knn", "match_units", "soft_match"):
        return
    leaf = jax.tree.leaves(FUNCTIONS[name](x, y))[-1]
    assert leaf.dtype == jnp.float32
    with jax.enable_x64(True):
        leaf = jax.tree.leaves(FUNCTIONS[name](x, y))[-1]
        assert leaf.dtype == jnp.float64


SCALE_FREE = [
    "cka_rbf", "cka_rbf_debiased", "mean_cca", "r2_cca", "svcca", "svcca_singular", "pwcca", "linear_predictivity",
    "shape_distance_white", "gulp", "eigenspace_overlap", "nbs", "shape_distance", "procrustes_normalized", "rsa",
    "rsa_euclidean_pearson", "rsa_cosine_kendall", "distance_correlation", "distance_correlation_unbiased",
    "mutual_knn", "knn_jaccard", "mutual_knn_euclidean", "mutual_knn_inner", "match_units", "soft_match", "cca",
    "unit_correlations", "knn", "cknna", "cknna_inner", "cknna_unbiased", "cycle_knn", "cycle_knn_euclidean",
    "sparse_predict_units",
]  # fmt: skip


@pytest.mark.parametrize("size", [2.0**-66, 2.0**66])  # 1e-20 and 1e20, without rounding
@pytest.mark.parametrize("name", SCALE_FREE)
def test_a_scale_free_measure_is_right_at_any_scale(name, size):
    x, y = good()
    expected = numbers(FUNCTIONS[name](x, y))
    for pair in ((size * x, y), (x, size * y), (size * x, size * y)):
        pair = [a.astype(np.float32) for a in pair]
        np.testing.assert_allclose(numbers(FUNCTIONS[name](*pair)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e20, 1e30])
@pytest.mark.parametrize("name", sorted(set(PAIRED) - set(SCALE_FREE) - NO_MEASURE))
def test_other_measures_are_right_at_any_scale_or_say_what_is_wrong(name, size):
    x, y = good()
    huge = (np.float32(size) * x).astype(np.float32)
    try:
        got = numbers(FUNCTIONS[name](huge, y))
    except ValueError as error:
        assert any(word in str(error) for word in ("dtype", "finite moments", "no spread"))
        return
    with jax.enable_x64(True):
        right = numbers(FUNCTIONS[name](huge.astype(np.float64), y.astype(np.float64)))
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(PAIRED) - NO_MEASURE))
def test_mostly_identical_rows_give_a_finite_value_or_an_error(name):
    x, y = good()
    x[3:] = x[3]
    try:
        assert np.isfinite(numbers(PAIRED[name](x, y))).all()
    except ValueError as error:
        assert "undefined for these inputs" in str(error)
        assert name.startswith(("cka_rbf", "cka_debiased"))


def test_one_row_apart_from_identical_others_has_no_debiased_alignment():
    x = np.zeros((12, 3))
    x[0] = 1
    with pytest.raises(ValueError, match="undefined for these inputs: the debiased HSIC"):
        sim.cka_debiased(x, good()[1])


@pytest.mark.parametrize("name", ["cka_rbf", "cka_rbf_debiased"])
def test_a_bandwidth_of_zero_distance_is_refused(name):
    x, y = good()
    x[2:] = x[2]
    with pytest.raises(ValueError, match="the median pairwise distance is 0"):
        PAIRED[name](x, y)


WRONG_OPTIONS = [
    (sim.cka_rbf, "bandwidth", [0, -1, np.nan, np.inf], ["wide", None, [0.4], 1j]),
    (sim.svcca, "threshold", [0, -0.1, 1.01, np.nan], ["high", None, [0.9, 0.8]]),
    (sim.svcca, "on", ["values", "", None], []),
    (sim.sparse_predict_units, "penalty", [0, -0.1, np.nan, np.inf], ["none", None, np.ones(2)]),
    (sim.gulp, "ridge", [-1e-3, np.nan, np.inf], ["none", None, np.ones(2)]),
    (sim.shape_distance, "alpha", [-0.1, 1.1, np.nan], ["one", None, (0.5,)]),
    (sim.rsa, "distance", ["manhattan", None], []),
    (sim.rsa, "correlation", ["kendal", 1], []),
    (sim.mutual_knn, "k", [0, -1, 12, 10**6], [2.0, True, "2", None]),
    (sim.mutual_knn, "metric", ["l2", None], []),
    (sim.knn_jaccard, "k", [0, 12], [1.5]),
    (sim.knn_jaccard, "metric", ["l2"], []),
    (sim.cknna, "k", [0, 12], [1.5]),
    (sim.cknna, "metric", ["euclidean"], []),
    (sim.cknna_unbiased, "k", [0, 12], [1.5]),
    (sim.cycle_knn, "k", [0, 12], [1.5]),
    (sim.cycle_knn, "metric", ["l2"], []),
]


@pytest.mark.parametrize(("measure", "option", "values", "types"), WRONG_OPTIONS)
def test_an_option_out_of_range_is_refused_by_name(measure, option, values, types):
    x, y = good()
    for value in values:
        with pytest.raises(ValueError, match=f"^{option}: "):
            measure(x, y, **{option: value})
    for value in types:
        with pytest.raises(TypeError, match=f"^{option}: "):
            measure(x, y, **{option: value})


@pytest.mark.parametrize("k", [0, 12])
def test_knn_says_how_many_neighbours_there_are(k):
    with pytest.raises(ValueError, match=r"1 <= k <= 11 \(n - 1 other rows\)"):
        knn(good()[0], k=k)


def test_knn_refuses_an_unknown_metric():
    with pytest.raises(ValueError, match="metric: expected one of cosine, euclidean, inner; got 'l2'"):
        knn(good()[0], k=2, metric="l2")


def test_options_that_a_measure_does_not_have_are_type_errors():
    x, y = good()
    for measure in (sim.cka, sim.nbs, sim.cca):
        with pytest.raises(TypeError, match="unexpected keyword"):
            measure(x, y, debias=True)
    with pytest.raises(TypeError, match="positional"):
        sim.svcca(x, y, 0.9)
    with pytest.raises(TypeError, match="ridge"):
        sim.gulp(x, y)


FROM = {
    "cka_from": sim.cka_from,
    "cca_from": sim.cca_from,
    "svcca_from": sim.svcca_from,
    "procrustes_from": sim.procrustes_from,
}


@pytest.mark.parametrize("name", FROM)
def test_measures_of_moments_refuse_what_has_no_value(name):
    x, y = good()
    whole = moments(x, y)
    with pytest.raises(TypeError, match="m: expected Moments.*; got ndarray"):
        FROM[name](x)
    with pytest.raises(ValueError, match=r"m: expected rows that differ; got no spread in m.xx over n = 1.0 rows"):
        FROM[name](moments(x[:1], y[:1]))
    with pytest.raises(ValueError, match="no spread in m.yy"):
        FROM[name](moments(x, np.ones((12, 2))))
    with pytest.raises(ValueError, match="finite moments; got NaN or inf in m.xy"):
        FROM[name](Moments(**{**vars(whole), "xy": whole.xy.at[0, 0].set(jnp.nan)}))
    with pytest.raises(ValueError, match="one sample; got a batch"):
        FROM[name](jax.tree.map(lambda a: a[None], whole))


def test_options_of_measures_of_moments_are_checked():
    m = moments(*good())
    with pytest.raises(ValueError, match="^threshold: "):
        sim.svcca_from(m, threshold=1.5)
    with pytest.raises(ValueError, match="^on: "):
        sim.svcca_from(m, on="both")
