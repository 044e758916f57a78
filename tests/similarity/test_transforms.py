"""Measures under `jit`, `vmap` and `grad`, and inside `chance`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from repgeo import chance
from repgeo import similarity as sim

N, P, Q = 12, 4, 3
NEIGHBOURS = (sim.mutual_knn, sim.knn_jaccard, sim.cknna, sim.cknna_unbiased, sim.cycle_knn)
OPTIONS = {sim.gulp: {"ridge": 0.1}} | {m: {"k": 3} for m in NEIGHBOURS}
CASES = [(m, OPTIONS.get(m, {})) for m in sim.MEASURES if m.record.traceable] + [
    (sim.cka_rbf, {"debiased": True}),
    (sim.svcca, {"on": "singular"}),
    (sim.procrustes, {"normalized": True}),
    (sim.shape_distance, {"alpha": 0.0}),
    (sim.rsa, {"distance": "euclidean", "correlation": "pearson"}),
    (sim.rsa, {"distance": "correlation", "correlation": "pearson"}),
    (sim.distance_correlation, {"unbiased": True}),
]
RANKS = (sim.mutual_knn, sim.knn_jaccard, sim.cycle_knn)  # and rsa by Spearman: steps, whose gradient is 0
NAMES = [f"{m.__name__}{''.join(f'-{v}' for v in o.values())}" for m, o in CASES]
each_case = pytest.mark.parametrize(("measure", "options"), CASES, ids=NAMES)

# These read singular values or distances only, never singular vectors: their gradient exists at the awkward points.
SMOOTH = [
    c for c in CASES
    if c[0] in (sim.hsic, sim.hsic_unbiased, sim.cka, sim.cka_debiased, sim.cka_rbf, sim.procrustes, sim.nbs, sim.rsa,
                sim.distance_correlation) or c == (sim.shape_distance, {})
]  # fmt: skip


def named(value):
    """The same in every process, where `str` of a function is not."""
    return getattr(value, "__name__", str(value))


def pair(seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(N, P)) + 1
    return x, x @ random.normal(size=(P, Q)) + random.normal(size=(N, Q))


def steps(measure, options):
    return measure in RANKS or measure is sim.rsa and not options


@each_case
def test_compiled_and_mapped_values_and_gradients_are_right(measure, options):
    """One test, so that each measure compiles once: jit of vmap equals the loop, grad equals finite differences."""

    def of(x, y):
        return measure(x, y, **options)

    pairs = [pair(seed) for seed in range(3)]
    with jax.enable_x64(True):
        xs, ys = (jnp.asarray(np.stack(side)) for side in zip(*pairs, strict=True))
        values = [float(of(x, y)) for x, y in zip(xs, ys, strict=True)]
        mapped, (slope_x, slope_y) = jax.jit(jax.vmap(jax.value_and_grad(of, (0, 1))))(xs, ys)
        np.testing.assert_allclose(mapped, values, rtol=1e-9, atol=1e-12)
        for (x, y), dx, dy in zip(pairs, slope_x, slope_y, strict=True):
            if steps(measure, options):
                assert not np.asarray(dx).any() and not np.asarray(dy).any()
                continue
            random = np.random.default_rng(1)
            u, v = random.normal(size=x.shape), random.normal(size=y.shape)
            h = 1e-5
            up, down = of(x + h * u, y + h * v), of(x - h * u, y - h * v)
            expected = float(up - down) / (2 * h)
            assert float(jnp.vdot(dx, u) + jnp.vdot(dy, v)) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def awkward():
    """Where a careless gradient is NaN: identical, rank-deficient, repeated singular values, uncorrelated, copies."""
    random = np.random.default_rng(2)
    x, y = random.normal(size=(N, P)), random.normal(size=(N, P))
    a = random.normal(size=(N, 2 * P))
    flat = np.linalg.qr(a - a.mean(0))[0]
    return {
        "identical": (x, x),
        "nearly identical": (x, x + 1e-4 * y),
        "rank-deficient": (x[:, :2] @ random.normal(size=(2, P)), y),
        "repeated singular values": (flat[:, :P], y),
        "uncorrelated": (flat[:, :P], flat[:, P:]),
        "a constant feature": (x * [1, 1, 1, 0], y),
    }


@pytest.mark.parametrize(("measure", "options"), SMOOTH, ids=lambda v: getattr(v, "__name__", str(v)))
def test_gradients_are_finite_at_awkward_points(measure, options):
    slopes = jax.jit(jax.vmap(jax.grad(lambda x, y: measure(x, y, **options), (0, 1))))
    stacks = [jnp.asarray(np.stack(side), jnp.float32) for side in zip(*awkward().values(), strict=True)]
    for slope in slopes(*stacks):
        finite = np.isfinite(np.asarray(slope)).all((1, 2))
        assert finite.all(), [name for name, good in zip(awkward(), finite, strict=True) if not good]


def test_a_nuclear_norm_by_singular_values_has_a_gradient_where_one_by_eigenvectors_has_none():
    x = jnp.asarray(awkward()["rank-deficient"][0], jnp.float32)

    def by_eigenvalues(a):
        return jnp.sum(jnp.sqrt(jnp.linalg.eigvalsh(a.T @ a)))

    def by_vectors(a):
        u, _, vt = jnp.linalg.svd(a, full_matrices=False)
        return jnp.trace(u.T @ a @ vt.T)

    assert not np.isfinite(jax.grad(by_eigenvalues)(x)).all()  # its zeros come out as rounding of either sign
    assert not np.isfinite(jax.grad(by_vectors)(jnp.eye(4) * 2)).all()  # repeated singular values
    for measure in (sim.nbs, sim.procrustes, sim.shape_distance):
        slope = jax.jit(jax.grad(measure))
        assert np.isfinite(slope(x, x)).all() and np.isfinite(slope(x, jnp.roll(x, 1, 0))).all()
    text = str(jax.make_jaxpr(sim.nbs)(x, x))
    assert "compute_uv=False" in text and "compute_uv=True" not in text and "eigh" not in text


@pytest.mark.parametrize(
    ("measure", "target"), [(sim.cka, 0.3), (sim.cka_debiased, 0.3), (sim.nbs, 0.4), (sim.procrustes, 4.0)], ids=named
)
@pytest.mark.parametrize("start", ["nearly identical", "rank-deficient"])
def test_activations_can_be_moved_to_any_value_of_a_measure(measure, target, start):
    """The manipulation of Davari et al. 2022, from starts at which a careless gradient breaks."""
    x, y = (jnp.asarray(a, jnp.float32) for a in awkward()[start])
    optimiser = optax.adam(0.03)

    def loss(y):
        return (measure(x, y) - target) ** 2

    @jax.jit
    def moved(y):
        def step(carry, _):
            y, state = carry
            value, slope = jax.value_and_grad(loss)(y)
            change, state = optimiser.update(slope, state)
            return (optax.apply_updates(y, change), state), (value, jnp.isfinite(slope).all())

        return jax.lax.scan(step, (y, optimiser.init(y)), length=600)

    (y, _), (losses, finite) = moved(y)
    assert finite.all()
    assert float(losses[0]) > 1e-3
    assert float(measure(x, y)) == pytest.approx(target, abs=0.02)


@pytest.mark.parametrize(
    ("measure", "options"), [c for c in CASES if c[0] in (sim.cka_rbf, sim.distance_correlation)], ids=named
)
def test_gradients_are_finite_where_rows_repeat(measure, options):
    x, y = (jnp.asarray(a, jnp.float32) for a in pair())
    x = x.at[5].set(x[4])
    assert np.isfinite(jax.grad(lambda a: measure(a, y, **options))(x)).all()


def test_the_gradient_of_a_shape_distance_points_the_right_way_close_to_its_minimum():
    x, y = pair()
    noise = np.random.default_rng(5).normal(size=x.shape)
    with jax.enable_x64(True):
        x = jnp.asarray(x)
        for gap in (1e-1, 1e-3):
            near = x + gap * noise
            slope = jax.grad(lambda a, b=near: sim.procrustes(a, b))(x)
            h = 1e-6
            down = (sim.procrustes(x + h * noise, near) - sim.procrustes(x - h * noise, near)) / (2 * h)
            assert float(jnp.vdot(slope, noise)) == pytest.approx(float(down), rel=1e-4)


UNDEFINED_IF_CONSTANT = [
    c for c in CASES
    if c[0] in (sim.cka, sim.cka_debiased, sim.cka_rbf, sim.nbs, sim.procrustes, sim.rsa, sim.distance_correlation)
    or c[0] is sim.shape_distance or c[0] is sim.pwcca
]  # fmt: skip


@pytest.mark.parametrize(("measure", "options"), UNDEFINED_IF_CONSTANT, ids=lambda v: getattr(v, "__name__", str(v)))
def test_a_constant_argument_is_nan_under_a_trace_and_never_a_number(measure, options):
    x, y = pair()
    traced = jax.jit(lambda a, b: measure(a, b, **options))
    assert np.isnan(traced(np.full_like(x, 0.3), y))


@pytest.mark.parametrize("measure", [sim.mean_cca, sim.r2_cca, sim.svcca, sim.linear_predictivity, sim.hsic])
def test_a_constant_x_explains_nothing_under_a_trace(measure):
    x, y = pair()
    assert float(jax.jit(lambda a, b: measure(a, b))(np.full_like(x, 0.3), y)) == 0


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_one_side_may_be_closed_over(convert):
    x, y = (convert(a.astype(np.float32)) for a in pair())
    for measure, options in ((sim.cka, {}), (sim.mutual_knn, {"k": 3}), (sim.shape_distance, {"alpha": 1.0})):
        traced = jax.jit(lambda b, m=measure, o=options: m(x, b, **o))
        np.testing.assert_allclose(traced(y), measure(x, y, **options), rtol=1e-5)


def test_shapes_and_options_are_checked_under_a_trace():
    x, y = pair()
    with pytest.raises(ValueError, match="one row per sample"):
        jax.jit(sim.cka)(x, y[:-1])
    with pytest.raises(ValueError, match="k: expected"):
        jax.jit(lambda a, b: sim.mutual_knn(a, b, k=N))(x, y)
    with pytest.raises(TypeError, match="real numbers"):
        jax.jit(sim.nbs)(x.astype(complex), y)


@pytest.mark.parametrize("measure", [sim.match_units, sim.soft_match], ids=lambda m: m.__name__)
def test_matching_cannot_be_traced_and_says_so(measure):
    assert not measure.record.traceable
    x, y = pair()
    with pytest.raises(TypeError, match=f"{measure.__name__}: .* cannot be traced"):
        jax.jit(lambda a, b: float(measure(a, b)))(x, y)
    with pytest.raises(TypeError, match=f"{measure.__name__}: .* cannot be traced"):
        jax.jit(lambda a: float(measure(a, jnp.asarray(y))))(x)


def test_kendall_cannot_be_traced_and_says_so():
    x, y = pair()
    with pytest.raises(TypeError, match='"kendall" is computed by SciPy and cannot be traced; use "spearman"'):
        jax.jit(lambda a, b: sim.rsa(a, b, correlation="kendall"))(x, y)


def test_numeric_options_may_be_traced_and_differentiated():
    x, y = (jnp.asarray(a, jnp.float32) for a in pair())
    for measure, option, at in (
        (sim.gulp, "ridge", 0.3),
        (sim.cka_rbf, "bandwidth", 0.7),
        (sim.shape_distance, "alpha", 0.4),
        (sim.svcca, "threshold", 0.9),
    ):
        value, slope = jax.jit(jax.value_and_grad(lambda v, m=measure, o=option: m(x, y, **{o: v})))(at)
        np.testing.assert_allclose(value, measure(x, y, **{option: at}), rtol=1e-5)
        assert np.isfinite(slope)


def test_correlations_keep_their_shape_under_a_trace():
    x, y = pair()
    x[:, 0] = x[:, 1]
    traced = jax.jit(sim.cca)(x[:, :2], y)
    assert traced.shape == (2,) and float(traced[1]) == 0
    np.testing.assert_allclose(traced[:1], sim.cca(x[:, :2], y), rtol=1e-6)


@each_case
def test_a_permutation_test_takes_every_traceable_measure(measure, options):
    x, y = pair()
    y = np.column_stack([y, x[:, :1]])
    found = chance.permutation_test(measure, x, y, key=jax.random.key(0), rounds=19, **options)
    assert np.isfinite(found.null).all() and found.null.shape == (19,)
    assert float(found.score) == pytest.approx(float(measure(x, y, **options)), abs=1e-4)


@pytest.mark.parametrize("measure", [sim.match_units, sim.soft_match], ids=lambda m: m.__name__)
def test_a_permutation_test_takes_matchings(measure):
    x, _ = pair()
    found = chance.permutation_test(measure, x, x[:, ::-1], key=jax.random.key(0), rounds=19)
    assert float(found.score) == pytest.approx(1, abs=1e-5)
    assert float(found.p) == pytest.approx(1 / 20)


def test_a_distance_is_extreme_when_small():
    x, _ = pair()
    found = chance.permutation_test(sim.procrustes, x, 1 + x[:, ::-1], key=jax.random.key(0), rounds=19)
    assert float(found.p) == pytest.approx(1 / 20)


def test_no_measure_may_be_bootstrapped_with_replacement():
    x, y = pair()
    for measure in (sim.cka_debiased, sim.mutual_knn, sim.mean_cca):
        with pytest.raises(ValueError, match="jackknife_interval or subsample_interval"):
            chance.bootstrap_interval(measure, x, y, key=jax.random.key(0))
