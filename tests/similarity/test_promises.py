"""What each record promises: invariances and their absence, symmetry, range, self-similarity, triangle, chance level.

Promises are exact in real arithmetic, so they are tested in float64, where rounding hides neither a broken promise nor
a change that should be noticed; one test repeats the invariances in float32 at a stated tolerance.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repgeo import similarity as sim
from repgeo.similarity.record import invariant

N, P, Q = 36, 5, 7
NEEDED = {sim.gulp: {"ridge": 0.1}, sim.cycle_knn: {"k": 2}, sim.cknna_unbiased: {"k": 3}}  # not for so few rows
NEIGHBOURS = (sim.mutual_knn, sim.knn_jaccard, sim.cknna, sim.cycle_knn)
SIMILAR = invariant("shift", "scale", "rotation")
AFFINE = invariant("shift", "scale", "linear")
OPTIONS = [  # (measure, options, what it then ignores), beside the defaults that the records describe
    (sim.cka_rbf, {"bandwidth": 0.2}, SIMILAR),
    (sim.cka_rbf, {"bandwidth": 0.8, "debiased": True}, SIMILAR),
    (sim.svcca, {"on": "singular"}, SIMILAR),
    (sim.svcca, {"threshold": 0.8}, SIMILAR),
    (sim.gulp, {"ridge": 0.0}, AFFINE),
    (sim.gulp, {"ridge": 10.0}, SIMILAR),
    (sim.procrustes, {"normalized": True}, SIMILAR),
    (sim.shape_distance, {"alpha": 0.0}, AFFINE),
    (sim.shape_distance, {"alpha": 0.5}, invariant("shift", "rotation")),
    (sim.rsa, {"distance": "euclidean", "correlation": "pearson"}, SIMILAR),
    (sim.rsa, {"distance": "sqeuclidean", "correlation": "spearman"}, SIMILAR),
    (sim.rsa, {"distance": "cosine", "correlation": "kendall"}, invariant("scale", "rotation")),
    (sim.rsa, {"distance": "correlation", "correlation": "pearson"}, invariant("scale", "permutation")),
    (sim.distance_correlation, {"unbiased": True}, SIMILAR),
    (sim.mutual_knn, {"k": 4, "metric": "euclidean"}, SIMILAR),
    (sim.mutual_knn, {"k": 4, "metric": "inner"}, invariant("scale", "rotation")),
    (sim.knn_jaccard, {"k": 4, "metric": "euclidean"}, SIMILAR),
    (sim.cknna, {"k": 4, "metric": "inner"}, invariant("scale", "rotation")),
    (sim.cycle_knn, {"k": 2, "metric": "euclidean"}, SIMILAR),
]
CASES = [(m, NEEDED.get(m, {}), m.record.invariant) for m in sim.MEASURES] + OPTIONS
NAMES = [f"{m.__name__}{''.join(f'-{v}' for v in o.values())}" for m, o, _ in CASES]
each_case = pytest.mark.parametrize(("measure", "options", "ignored"), CASES, ids=NAMES)
each_measure = pytest.mark.parametrize("measure", sim.MEASURES, ids=lambda m: m.__name__)
seeds = st.integers(0, 10**6)


def world(seed, n=N, p=P, q=Q):
    """Two noisy views of three latents, neither white nor centred, as float64 NumPy arrays."""
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, 3)) * [3.0, 1.5, 0.8]
    x, y = (z @ random.normal(size=(3, k)) + 0.4 * random.normal(size=(n, k)) + random.normal(size=k) for k in (p, q))
    return x, y


def orthogonal(random, p):
    return np.linalg.qr(random.normal(size=(p, p)))[0]


def changed(a, change, seed):
    """`a` after one of `CHANGES` (order excepted, which needs both sides)."""
    random = np.random.default_rng(seed + 1)
    p = a.shape[1]
    if change == "shift":
        return a + 5 * random.normal(size=p)
    if change == "scale":
        return 2.7 * a
    if change == "rotation":
        return a @ orthogonal(random, p)
    if change == "permutation":
        return a[:, np.roll(np.arange(p), 1)]
    if change == "linear":
        return a @ (orthogonal(random, p) * np.geomspace(0.2, 5, p)) @ orthogonal(random, p)
    raise ValueError(change)


def value(measure, x, y, dtype=jnp.float64, **options):
    return float(measure(jnp.asarray(x, dtype), jnp.asarray(y, dtype), **options))


def pairs_after(change, x, y, seed):
    """The pairs that a change of one side, and then of the other, makes of (x, y)."""
    if change == "order":
        rows = np.random.default_rng(seed).permutation(len(x))
        return [(x[rows], y[rows])]
    return [(changed(x, change, seed), y), (x, changed(y, change, seed))]


@each_case
def test_a_declared_invariance_holds_on_either_side(measure, options, ignored):
    @settings(deadline=None, max_examples=3)
    @given(seeds)
    def holds(seed):
        with jax.enable_x64(True):
            x, y = world(seed)
            before = value(measure, x, y, **options)
            for change in ignored:
                for pair in pairs_after(change, x, y, seed):
                    assert value(measure, *pair, **options) == pytest.approx(before, rel=1e-8, abs=1e-8), change

    holds()


@each_case
def test_a_change_that_is_not_declared_is_noticed_on_one_side_at_least(measure, options, ignored):
    with jax.enable_x64(True):
        x, y = world(0)
        before = value(measure, x, y, **options)
        for change in set(sim.CHANGES) - ignored:
            moved = [abs(value(measure, *pair, **options) - before) for pair in pairs_after(change, x, y, 0)]
            assert max(moved) > 5e-3 * max(1, abs(before)), change


@each_case
def test_invariances_survive_float32_to_2e_4(measure, options, ignored):
    x, y = world(1)
    before = value(measure, x, y, jnp.float32, **options)
    for change in ignored:
        for pair in pairs_after(change, x, y, 1):
            assert value(measure, *pair, jnp.float32, **options) == pytest.approx(before, rel=2e-4, abs=2e-4), change


def test_one_sided_invariances_are_as_their_docstrings_say():
    with jax.enable_x64(True):
        x, y = world(0)
        mapped = changed(y, "linear", 0)
        assert value(sim.pwcca, x, mapped) == pytest.approx(value(sim.pwcca, x, y), abs=1e-10)
        assert value(sim.pwcca, changed(x, "rotation", 0), y) != pytest.approx(value(sim.pwcca, x, y), abs=1e-4)
        predicted = value(sim.linear_predictivity, x, y)
        assert value(sim.linear_predictivity, changed(x, "linear", 0), y) == pytest.approx(predicted, abs=1e-10)
        assert value(sim.linear_predictivity, x, mapped) != pytest.approx(predicted, abs=1e-3)


@each_case
def test_a_measure_is_symmetric_exactly_where_its_record_says_so(measure, options, ignored):
    with jax.enable_x64(True):
        x, y = world(0, q=P)
        forth, back = value(measure, x, y, **options), value(measure, y, x, **options)
    assert (abs(forth - back) <= 1e-9 * max(1, abs(forth))) == measure.record.symmetric


def hostile_pairs():
    """Pairs on which values leave their range first: independent, wide, rank-deficient, identical, opposed."""
    random = np.random.default_rng(3)
    x, y = random.normal(size=(2, 14, 4))
    low = random.normal(size=(14, 1)) @ random.normal(size=(1, 4))
    wide = random.normal(size=(14, 4)) @ random.normal(size=(4, 4)) * 1e-3
    return [(x, y), (x, x), (x, -x), (low, y), (low, low + 1), (wide, 1e3 * x), (x, np.round(y))]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
@each_case
def test_values_stay_in_their_declared_range(measure, options, ignored, dtype):
    low, high = measure.record.range
    low = -1 if options.get("debiased") or options.get("unbiased") else low  # the record speaks of the defaults
    options = options | ({"k": 3} if measure in NEIGHBOURS else {})
    rounding = 3e-6 if dtype == jnp.float32 else 1e-12
    with jax.enable_x64(dtype == jnp.float64):
        for x, y in hostile_pairs():
            got = value(measure, x, y, dtype, **options)
            assert low - rounding <= got <= high + rounding
            assert np.isfinite(got)


@each_measure
def test_wide_data_stay_in_the_declared_range(measure):
    low, high = measure.record.range
    x, y = np.random.default_rng(0).normal(size=(2, 12, 30))
    got = value(measure, x, y, jnp.float32, **NEEDED.get(measure, {}))
    assert low - 3e-6 <= got <= high + 3e-6


UNBOUNDED = (sim.hsic, sim.hsic_unbiased, sim.cknna_unbiased)


@pytest.mark.parametrize(
    ("measure", "options", "ignored"), [c for c in CASES if c[0] not in (*UNBOUNDED, sim.cycle_knn)]
)
def test_a_representation_is_as_like_itself_as_anything_can_be(measure, options, ignored):
    with jax.enable_x64(True):
        x, _ = world(0)
        best = measure.record.range[1] if measure.record.kind == "similarity" else 0
        assert value(measure, x, x, **options) == pytest.approx(best, abs=2e-7)


@pytest.mark.parametrize("measure", [sim.hsic, sim.hsic_unbiased], ids=lambda m: m.__name__)
def test_hsic_obeys_cauchy_schwarz(measure):
    with jax.enable_x64(True):
        for x, y in hostile_pairs():
            cross = abs(value(measure, x, y))
            assert cross <= np.sqrt(value(measure, x, x) * value(measure, y, y)) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize(
    ("metric", "options"),
    [(sim.gulp, {"ridge": r}) for r in (0.0, 0.1, 10.0)]
    + [(sim.procrustes, {"normalized": n}) for n in (False, True)]
    + [(sim.shape_distance, {"alpha": a}) for a in (0.0, 0.5, 1.0)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_metric_obeys_the_triangle_inequality(metric, options):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 8, 10, 3))
    b = b * np.geomspace(0.05, 20, 8)[:, None, None]
    between = (a + b) / 2, 0.99 * a + 0.01 * b, a + 1e-3 * b  # nearly on the way from a to b: the inequality is tight
    with jax.enable_x64(True):
        points = jnp.asarray(np.concatenate([a, b, *between]))
        distance = jax.jit(jax.vmap(lambda u: jax.vmap(lambda v: metric(u, v, **options))(points)))
        d = np.asarray(distance(points))
    detour = (d[:, :, None] + d[None]).min(1)
    assert (d <= detour + 1e-6).all()
    assert (d >= 0).all()
    np.testing.assert_allclose(d, d.T, rtol=0, atol=1e-6)


def test_records_that_claim_a_metric_are_the_ones_tested_above():
    assert {m for m in sim.MEASURES if m.record.kind == "metric"} == {sim.gulp, sim.procrustes, sim.shape_distance}
    assert not [m for m in sim.MEASURES if m.record.kind == "distance"]


def test_every_record_cites_a_known_paper():
    from repgeo.papers import PAPERS

    assert {m.record.paper for m in sim.MEASURES} <= set(PAPERS)


@each_measure
def test_fewer_samples_than_the_record_says_are_refused_and_that_many_are_enough(measure):
    n = measure.record.at_least
    x, y = np.random.default_rng(0).normal(size=(2, n, 3))
    options = NEEDED.get(measure, {}) | ({"k": 1} if measure in NEIGHBOURS else {})
    assert np.isfinite(value(measure, x, y, jnp.float32, **options))
    with pytest.raises(ValueError, match=f"x: expected at least {n} samples"):
        measure(x[1:], y[1:], **options)


# Identities: two formulas for one number


@pytest.fixture(scope="module")
def pair():
    return world(5)


@pytest.mark.parametrize("measure", [sim.hsic, sim.hsic_unbiased, sim.cka, sim.cka_debiased], ids=lambda m: m.__name__)
def test_gram_and_feature_forms_agree(measure, pair):
    x, y = pair
    padded = [np.pad(a, ((0, 0), (0, 3 * N))) for a in pair]  # columns of zeros change nothing but the route
    with jax.enable_x64(True):
        assert value(measure, *padded) == pytest.approx(value(measure, x, y), rel=1e-11)


def test_cka_is_hsic_over_the_root_of_both_self_terms(pair):
    x, y = pair
    with jax.enable_x64(True):
        for whole, part in ((sim.cka, sim.hsic), (sim.cka_debiased, sim.hsic_unbiased)):
            ratio = value(part, x, y) / np.sqrt(value(part, x, x) * value(part, y, y))
            assert value(whole, x, y) == pytest.approx(ratio, abs=1e-12)


def test_bures_similarity_is_the_cosine_of_the_shape_angle_and_gives_both_procrustes_distances(pair):
    x, y = pair
    with jax.enable_x64(True):
        nbs = value(sim.nbs, x, y)
        assert np.cos(value(sim.shape_distance, x, y)) == pytest.approx(nbs, abs=1e-12)
        assert value(sim.procrustes, x, y, normalized=True) ** 2 == pytest.approx(2 - 2 * nbs, abs=1e-12)
        s, t = (np.linalg.norm(a - a.mean(0)) for a in pair)
        assert value(sim.procrustes, x, y) ** 2 == pytest.approx(s**2 + t**2 - 2 * s * t * nbs, rel=1e-11)


def test_the_close_and_the_far_route_of_the_shape_angle_meet():
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(2, N, P))
    with jax.enable_x64(True):
        for size in (0.1, 0.13, 0.135, 0.14, 0.145, 0.15, 0.2):  # the cosine passes .99, where the route changes
            y = (x + size * noise) @ orthogonal(random, P)
            assert np.cos(value(sim.shape_distance, x, y)) == pytest.approx(value(sim.nbs, x, y), abs=1e-12)


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_a_tiny_rotation_free_gap_is_measured_in_float64_and_float32(gap):
    """1 - cosine would round to 0 at 1e-4 in float32: the residual keeps the digits that the data have."""
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(2, N, P))
    rotated = (x + gap * noise) @ orthogonal(random, P)
    with jax.enable_x64(True):
        exact = value(sim.shape_distance, x, rotated)
    assert 0.1 * gap < exact < 10 * gap
    assert value(sim.shape_distance, x, rotated, jnp.float32) == pytest.approx(exact, rel=2e-2, abs=1e-6)


def test_r2_cca_is_the_cka_of_orthonormal_bases(pair):
    x, y = pair
    bases = [np.linalg.qr(a - a.mean(0))[0] for a in pair]
    with jax.enable_x64(True):
        assert value(sim.r2_cca, x, y) == pytest.approx(value(sim.cka, *bases) * np.sqrt(Q / P), abs=1e-12)


def test_distances_from_canonical_correlations(pair):
    x, y = pair
    with jax.enable_x64(True):
        rho = np.asarray(sim.cca(jnp.asarray(x), jnp.asarray(y)))
        assert value(sim.mean_cca, x, y) == pytest.approx(rho.mean(), abs=1e-12)
        assert value(sim.gulp, x, y, ridge=0) ** 2 == pytest.approx(P + Q - 2 * np.sum(rho**2), abs=1e-10)
        cosine = np.cos(value(sim.shape_distance, x, y, alpha=0))
        assert cosine == pytest.approx(rho.sum() / np.sqrt(P * Q), abs=1e-12)
        assert value(sim.svcca, x, y, threshold=1) == pytest.approx(rho.mean(), abs=1e-12)


def test_linear_predictivity_weighs_squared_correlations_by_squared_projections(pair):
    """PWCCA with squares in place of absolute values is the R^2 of x from y (Kornblith et al. 2019, eq. 10)."""
    x, y = (a - a.mean(0) for a in pair)
    u, v = np.linalg.qr(x)[0], np.linalg.qr(y)[0]
    left, rho, _ = np.linalg.svd(u.T @ v)
    weights = np.sum((left.T @ u.T @ x) ** 2, 1)
    with jax.enable_x64(True):
        assert value(sim.linear_predictivity, y, x) == pytest.approx(rho**2 @ weights / weights.sum(), abs=1e-12)


def test_unbiased_distance_correlation_is_debiased_alignment_of_distances(pair):
    """Kernels in place of distances, -d / 2 up to terms that centring removes, and Song's sum written out."""

    def song(k, m):
        n = len(k)
        k, m = k * (1 - np.eye(n)), m * (1 - np.eye(n))
        one = np.ones(n)
        middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        return np.trace(k @ m) + middle - 2 / (n - 2) * one @ k @ m @ one

    k, m = (-np.linalg.norm(a[:, None] - a[None], axis=-1) / 2 for a in pair)
    with jax.enable_x64(True):
        got = value(sim.distance_correlation, *pair, unbiased=True)
    assert got == pytest.approx(song(k, m) / np.sqrt(song(k, k) * song(m, m)), abs=1e-12)


def test_one_neighbour_makes_overlap_and_jaccard_the_same(pair):
    assert float(sim.mutual_knn(*pair, k=1)) == float(sim.knn_jaccard(*pair, k=1)) > 0


def test_free_choice_of_partners_never_correlates_less_than_one_to_one(pair):
    x, y = world(2, q=P)
    assert float(sim.soft_match(x, y)) >= float(sim.match_units(x, y))


def test_a_permutation_with_dead_units_is_recovered():
    x, _ = world(0)
    x[:, 2] = 4.2
    order = np.random.default_rng(0).permutation(P)
    found = sim.match_units(x, x[:, order])
    live = found.units_x != 2
    np.testing.assert_array_equal(order[found.units_y[live]], found.units_x[live])
    np.testing.assert_allclose(found.correlations, np.where(live, 1, 0), atol=1e-5)


# Chance: what independent data score


@pytest.fixture(scope="module")
def independent():
    """Draws of independent pairs with fewer samples than features: (draws, n, p) twice."""
    return jax.random.normal(jax.random.key(0), (2, 300, 24, 40))


def scores(measure, draws, **options):
    mapped = jax.jit(lambda x, y: jax.lax.map(lambda pair: measure(*pair, **options), (x, y)))
    return np.asarray(mapped(*draws))


@pytest.mark.parametrize(
    ("measure", "options"),
    [
        (sim.cka_debiased, {}),
        (sim.hsic_unbiased, {}),
        (sim.cka_rbf, {"debiased": True}),
        (sim.distance_correlation, {"unbiased": True}),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_debiased_measures_of_independent_data_average_zero(measure, options, independent):
    got = scores(measure, independent, **options)
    assert abs(got.mean()) < 4 * got.std() / np.sqrt(len(got))
    assert (got < 0).mean() > 0.3


@pytest.mark.parametrize("measure", [sim.cka, sim.distance_correlation, sim.nbs], ids=lambda m: m.__name__)
def test_biased_measures_of_independent_data_are_high_below_n_equals_p(measure, independent):
    assert scores(measure, independent).min() > 0.5


def test_shared_neighbours_of_independent_data_average_k_over_n_minus_1(independent):
    got = scores(sim.mutual_knn, independent, k=6)
    assert abs(got.mean() - 6 / 23) < 4 * got.std() / np.sqrt(len(got))


@pytest.mark.parametrize(
    "measure", [sim.mean_cca, sim.svcca, sim.pwcca, sim.linear_predictivity], ids=lambda m: m.__name__
)
def test_canonical_measures_of_independent_data_are_1_when_n_is_at_most_p(measure, independent):
    x, y = independent[:, 0]
    assert float(measure(x, y, **({"threshold": 1.0} if measure is sim.svcca else {}))) == pytest.approx(1, abs=1e-5)
