"""Planted problems: the answer that each docstring promises is the answer that is there."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import worlds

KEY = jax.random.key(0)


def centred(x):
    x = np.asarray(x, float)
    return x - x.mean(0)


def cka(x, y):
    x, y = centred(x), centred(y)
    return np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def correlations(x, y):
    """Canonical correlations of full-rank matrices, n > p + q."""
    return np.linalg.svd(np.linalg.qr(centred(x))[0].T @ np.linalg.qr(centred(y))[0], compute_uv=False)


def items_cosine(b):
    b = np.asarray(b, float)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    return b @ b.T


def test_independent_matrices_have_the_biased_cka_that_chance_gives():
    x, y = worlds.independent(KEY, 200, 150, 300)
    assert cka(x, y) == pytest.approx(np.sqrt(150 * 300 / (350 * 500)), rel=0.02)
    assert correlations(*worlds.independent(KEY, 20000, 3, 4)).max() < 0.04


def test_independent_matrices_are_fully_correlated_once_n_is_at_most_p_plus_one():
    x, y = worlds.independent(KEY, 11, 10, 2)
    fitted = centred(x) @ np.linalg.lstsq(centred(x), centred(y), rcond=None)[0]
    np.testing.assert_allclose(fitted, centred(y), atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_shared_latents_have_the_stated_canonical_correlations_and_cka(noise):
    x, y = worlds.shared_latents(KEY, 40000, 6, 9, shared=2, noise=noise)
    rho = correlations(x, y)
    np.testing.assert_allclose(rho[:2], 1 / (1 + noise**2), atol=0.01)
    assert rho[2:].max() < 0.03
    assert cka(x, y) == pytest.approx(2 / (np.sqrt(54) * (1 + noise**2) ** 2), abs=0.005)
    assert np.abs(np.corrcoef(x.T) - np.eye(6)).max() < 0.03


def test_a_rotated_copy_keeps_every_angle_and_ratio_but_not_the_units():
    x, _ = worlds.independent(KEY, 50, 8, 1)
    y = worlds.rotated_copy(KEY, x, scale=3.0, shift=7.0)
    np.testing.assert_allclose(centred(y) @ centred(y).T, 9 * centred(x) @ centred(x).T, atol=2e-4)
    assert np.linalg.norm((np.asarray(y) - np.asarray(worlds.rotated_copy(KEY, x, scale=3.0))).mean(0)) == (
        pytest.approx(7, rel=1e-4))
    assert np.abs(np.corrcoef(x.T, y.T)[:8, 8:]).max() < 0.95


def test_rotations_are_uniform_not_what_qr_prefers():
    keys = jax.random.split(KEY, 2000)
    corner = jax.vmap(lambda k: worlds.rotated_copy(k, jnp.eye(3)))(keys)[:, 0, 0]
    assert abs(float(corner.mean())) < 3 / np.sqrt(3 * 2000)  # mean 0, variance 1/3


@pytest.mark.parametrize("condition", [1.0, 30.0])
def test_an_affine_copy_has_the_stated_condition_and_all_correlations_one(condition):
    x, _ = worlds.independent(KEY, 60, 5, 1)
    y = worlds.affine_copy(KEY, x, condition=condition)
    linear = np.linalg.lstsq(centred(x), centred(y), rcond=None)[0]
    assert np.linalg.cond(linear) == pytest.approx(condition, rel=1e-3)
    np.testing.assert_allclose(correlations(x, y), 1, atol=1e-4)
    assert cka(x, y) == pytest.approx(1, abs=1e-5) if condition == 1 else cka(x, y) < 0.8


def test_permuted_units_come_with_the_order_that_undoes_them():
    x, _ = worlds.independent(KEY, 30, 7, 1)
    y, order = worlds.permuted_units(KEY, x)
    assert sorted(order.tolist()) == list(range(7)) and order.tolist() != list(range(7))
    assert (np.asarray(y) == np.asarray(x)[:, np.asarray(order)]).all()


def test_clusters_explain_the_stated_share_of_the_variance_around_equidistant_centres():
    x, labels = worlds.clusters(KEY, 20001, 12, c=5, spread=0.3)
    x, labels = np.asarray(x, float), np.asarray(labels)
    means = np.stack([x[labels == k].mean(0) for k in range(5)])
    between = ((means[labels] - x.mean(0)) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert between == pytest.approx(0.8 / (0.8 + 12 * 0.09), abs=0.01)
    gaps = np.linalg.norm(means[:, None] - means[None], axis=-1)[~np.eye(5, dtype=bool)]
    np.testing.assert_allclose(gaps, np.sqrt(2), atol=0.05)
    assert np.bincount(labels).tolist() == [4001, 4000, 4000, 4000, 4000]


def test_low_rank_matrices_have_exactly_k_unit_eigenvalues():
    x = np.asarray(worlds.low_rank(KEY, 30, 8, k=3), float)
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(x.T))[::-1], [1] * 3 + [0] * 5, atol=1e-5)
    noisy = np.asarray(worlds.low_rank(KEY, 20000, 8, k=3, noise=0.2), float)
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(noisy.T))[::-1], [1.04] * 3 + [0.04] * 5, atol=0.03)


@pytest.mark.parametrize("rows", [1, 40])
def test_a_shifted_subset_moves_cka_to_its_limit_and_leaves_the_readout(rows):
    readout = jax.random.normal(jax.random.key(2), (10, 3))
    x, labels = worlds.clusters(KEY, 200, 10, c=4, spread=0.5)
    y, direction = worlds.subset_shift(KEY, x, rows=rows, distance=1000.0, keep=readout)
    np.testing.assert_allclose(y @ readout, x @ readout, atol=2e-3)
    assert (jnp.argmax(y @ readout, 1) == jnp.argmax(x @ readout, 1)).all()
    assert float(jnp.linalg.norm(direction)) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(y[rows:], x[rows:])
    far, _ = worlds.subset_shift(jax.random.key(5), x, rows=rows, distance=1e5)
    mean = centred(x)[:rows].mean(0)
    limit = 200 * rows / (200 - rows) * mean @ mean / np.linalg.norm(centred(x).T @ centred(x))
    assert cka(x, far) == pytest.approx(limit, rel=0.01) and limit < 0.35
    assert cka(x, y) == pytest.approx(limit, rel=0.05, abs=0.01)


def test_ratings_have_the_stated_rates_in_and_out_of_the_group():
    x, users, kinds = worlds.ratings(KEY, 2000, 90, c=3, taste=0.9, rate=0.5)
    own = np.asarray(users[:, None] == kinds[None])
    x = np.asarray(x)
    assert set(np.unique(x)) == {0.0, 1.0}
    assert x[own].mean() == pytest.approx(0.45, abs=0.01) and x[~own].mean() == pytest.approx(0.05, abs=0.01)


def objective(x, a, b, ridge, penalty):
    x, a, b = (jnp.asarray(m) for m in (x, a, b))
    size = ((a @ b.T) ** 2).sum() if penalty == "product" else ((x @ a) ** 2).sum() + (b**2).sum()
    return ((x - x @ a @ b.T) ** 2).sum() + ridge * size


@pytest.mark.parametrize("penalty", ["product", "factors"])
def test_factorised_ratings_are_a_minimum_of_their_objective(penalty):
    x, _, _ = worlds.ratings(KEY, 80, 15, c=3, rate=0.5)
    a, b = worlds.factorised_ratings(x, k=4, ridge=2.0, penalty=penalty)
    best = float(objective(x, a, b, 2.0, penalty))
    slopes = jax.grad(lambda f: objective(x, *f, 2.0, penalty))((a, b))
    assert max(float(jnp.abs(g).max()) for g in slopes) < 1e-3 * best
    for seed in range(20):
        nudge = jax.random.normal(jax.random.key(seed), (2, *a.shape)) * 0.03
        assert float(objective(x, a + nudge[0], b + nudge[1], 2.0, penalty)) > best

    def step(_, f):
        return f - 0.002 * jax.grad(lambda g: objective(x, *g, 2.0, penalty))(f)

    for seed in range(2):  # descent from a random start ends no lower
        start = 0.1 * jax.random.normal(jax.random.key(seed), (2, *a.shape))
        found = jax.lax.fori_loop(0, 2000, step, start)
        assert best * (1 - 1e-4) < float(objective(x, *found, 2.0, penalty)) < best * 1.2


def test_rescaling_leaves_predictions_and_the_first_objective_but_not_cosines_or_the_second():
    x, _, kinds = worlds.ratings(KEY, 300, 30, c=3, rate=0.5)
    a, b = worlds.factorised_ratings(x, k=6, ridge=5.0)
    c, d = worlds.rescaled_factors(a, b, scales=jnp.array([10.0, 1.0, 1.0, 0.1, 0.1, 0.1]))
    np.testing.assert_allclose(x @ c @ d.T, x @ a @ b.T, atol=1e-4)
    before, after = (float(objective(x, *f, 5.0, "product")) for f in ((a, b), (c, d)))
    assert after == pytest.approx(before, rel=1e-5)
    assert np.abs(items_cosine(b) - items_cosine(d)).max() > 0.5
    assert float(objective(x, c, d, 5.0, "factors")) > float(objective(x, a, b, 5.0, "factors")) * 1.05


def test_small_directions_vanish_under_a_large_factor_penalty():
    x, _, _ = worlds.ratings(KEY, 80, 15, c=3, rate=0.5)
    s = np.linalg.svd(np.asarray(x), compute_uv=False)
    a, b = worlds.factorised_ratings(x, k=6, ridge=float(s[2] + s[3]) / 2, penalty="factors")
    assert (np.linalg.norm(b, axis=0) > 1e-3).tolist() == [True] * 3 + [False] * 3
    np.testing.assert_allclose(np.linalg.norm(x @ a, axis=0), np.linalg.norm(b, axis=0), rtol=1e-4, atol=1e-6)


X = jnp.arange(12.0).reshape(4, 3) ** 2


@pytest.mark.parametrize(("call", "words"), [
    (lambda: worlds.independent(KEY, 1, 2, 2), "n: expected 2 <= n"),
    (lambda: worlds.independent(KEY, 4, 0, 2), "p: expected 1 <= p"),
    (lambda: worlds.shared_latents(KEY, 9, 2, 3, shared=3, noise=0), "shared: .* narrower view"),
    (lambda: worlds.shared_latents(KEY, 9, 2, 3, shared=1, noise=-1), "noise"),
    (lambda: worlds.rotated_copy(KEY, X, scale=0.0), "scale"),
    (lambda: worlds.rotated_copy(KEY, X[0]), "expected a matrix"),
    (lambda: worlds.rotated_copy(KEY, X.at[0, 0].set(jnp.inf)), "finite"),
    (lambda: worlds.affine_copy(KEY, X, condition=0.5), "condition"),
    (lambda: worlds.clusters(KEY, 9, 3, c=4, spread=1), "every class needs"),
    (lambda: worlds.clusters(KEY, 9, 3, c=2, spread=-1), "spread"),
    (lambda: worlds.low_rank(KEY, 4, 9, k=4), "centring takes one"),
    (lambda: worlds.subset_shift(KEY, X, rows=4, distance=1), "moving all rows"),
    (lambda: worlds.subset_shift(KEY, X, rows=1, distance=1, keep=jnp.eye(3)), "keep: expected 3 rows"),
    (lambda: worlds.subset_shift(KEY, X, rows=1, distance=1, keep=jnp.ones((4, 1))), "keep: expected 3 rows"),
    (lambda: worlds.ratings(KEY, 9, 3, c=4), "every group needs"),
    (lambda: worlds.ratings(KEY, 9, 3, c=2, taste=2), "taste"),
    (lambda: worlds.ratings(KEY, 9, 3, c=2, rate=0), "rate"),
    (lambda: worlds.factorised_ratings(X, k=4, ridge=1), "k: expected"),
    (lambda: worlds.factorised_ratings(X[:, :1] * jnp.ones((1, 3)), k=2, ridge=1), "the rank of x"),
    (lambda: worlds.factorised_ratings(X, k=2, ridge=0), "ridge"),
    (lambda: worlds.factorised_ratings(X, k=2, ridge=1, penalty="both"), "product, factors"),
    (lambda: worlds.rescaled_factors(X, X, scales=jnp.ones(2)), "one per column"),
    (lambda: worlds.rescaled_factors(X, X[:, :2], scales=jnp.ones(3)), "one per column"),
    (lambda: worlds.rescaled_factors(X, X, scales=jnp.array([1.0, 0, 1])), "other than 0"),
])
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_worlds_follow_their_key():
    for make in (lambda k: worlds.independent(k, 5, 2, 2)[1],
                 lambda k: worlds.clusters(k, 5, 3, c=2, spread=1)[0],
                 lambda k: worlds.shared_latents(k, 5, 2, 2, shared=1, noise=1)[0]):
        a, b, c = (np.asarray(make(jax.random.key(seed))) for seed in (1, 1, 2))
        assert (a == b).all() and (a != c).any()
