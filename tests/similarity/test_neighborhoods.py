"""Neighbourhood measures against formulas written out in float64 NumPy, and on graphs whose spectrum is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from repgeo import similarity as sim
from tests.oracles import distances, neighbours


def pair(n=30, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 4)) + 0.3
    return x, x @ random.normal(size=(4, 3)) + random.normal(size=(n, 3))


def rows(x, metric):
    return x / np.linalg.norm(x, axis=1, keepdims=True) if metric == "cosine" else x


def graph(x, k, metric):
    near = np.zeros((len(x), len(x)))
    np.put_along_axis(near, neighbours(x, k, metric), 1, axis=1)
    return near


def aligned(x, y, k, metric):
    """Equations 16 to 18 of Huh et al. 2024, pair by pair."""
    x, y = rows(x, metric), rows(y, metric)
    a, b = ([[u @ v - np.mean(z @ u) for v in z] for u in z] for z in (x, y))
    near_x, near_y = graph(x, k, metric), graph(y, k, metric)
    total = cross = own = 0.0
    for i in range(len(x)):
        for j in range(len(x)):
            total += near_x[i, j] * near_y[i, j] * a[i][j] * b[i][j]
            cross += near_x[i, j] * a[i][j] ** 2
            own += near_y[i, j] * b[i][j] ** 2
    return total / np.sqrt(cross * own)


@pytest.mark.parametrize("metric", ["cosine", "inner"])
@pytest.mark.parametrize("k", [1, 4, 29])
def test_cknna_is_the_sum_of_the_paper(metric, k):
    x, y = pair()
    with jax.enable_x64(True):
        assert float(sim.cknna(x, y, k=k, metric=metric)) == pytest.approx(aligned(x, y, k, metric), abs=1e-12)


def test_unbiased_cknna_of_all_neighbours_is_debiased_cka_and_the_paper_s_is_near_cka():
    x, y = pair()
    with jax.enable_x64(True):
        for metric in ("cosine", "inner"):
            a, b = rows(x, metric), rows(y, metric)
            got = float(sim.cknna_unbiased(x, y, k=29, metric=metric))
            assert got == pytest.approx(float(sim.cka_debiased(a, b)), abs=1e-12)
            assert float(sim.cknna(x, y, k=29, metric=metric)) == pytest.approx(float(sim.cka(a, b)), abs=0.03)


def test_only_the_formula_of_the_paper_is_symmetric():
    x, y = pair()
    with jax.enable_x64(True):
        assert float(sim.cknna(x, y, k=4)) == pytest.approx(float(sim.cknna(y, x, k=4)), abs=1e-14)
        assert abs(sim.cknna_unbiased(x, y, k=4) - sim.cknna_unbiased(y, x, k=4)) > 1e-4


def test_an_offset_takes_the_shared_neighbours_of_inner_products_away():
    x, _ = pair()
    assert float(sim.cknna(x - 50, x + 50, k=3, metric="inner")) == 0
    assert float(sim.cknna(x, x, k=3, metric="inner")) == pytest.approx(1, abs=1e-6)


def test_unbiased_cknna_needs_four_rows_and_a_positive_self_term():
    x, y = pair(4)
    assert np.isfinite(float(sim.cknna_unbiased(x, y, k=3)))
    with pytest.raises(ValueError, match="at least 4 samples"):
        sim.cknna_unbiased(x[:3], y[:3], k=2)
    lone = np.ones((4, 3))
    lone[0] = 4  # one row apart from three that are equal
    with pytest.raises(ValueError, match="undefined for these inputs: the neighbours' part"):
        sim.cknna_unbiased(lone, y, k=3, metric="inner")


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "inner"])
def test_a_cycle_leaves_through_y_and_returns_through_x(metric):
    x, y = pair()
    for k in (1, 2, 5):
        back, out = neighbours(x, k, metric), neighbours(y, k, metric)
        expected = np.mean([any(i in back[j] for j in out[i]) for i in range(len(x))])
        assert float(sim.cycle_knn(x, y, k=k, metric=metric)) == pytest.approx(expected, abs=1e-6)


def test_a_point_that_is_nobodys_neighbour_cannot_come_home():
    x = np.array([[0.0], [1.0], [9.0]])
    assert float(sim.cycle_knn(x, x, k=1, metric="euclidean")) == pytest.approx(2 / 3)
    assert float(sim.cycle_knn(x, x, k=2, metric="euclidean")) == 1


def test_cycles_of_unrelated_data_come_home_as_often_as_the_docstring_says():
    draws = jax.random.normal(jax.random.key(0), (2, 100, 101, 50))
    got = np.asarray(jax.jit(jax.vmap(lambda x, y: sim.cycle_knn(x, y, k=10)))(*draws))
    bound = 1 - (1 - 10 / 100) ** 10
    assert bound == pytest.approx(0.65, abs=0.005)
    assert got.mean() == pytest.approx(bound, abs=0.03)


# The intrinsic distance


def heat(x, k, times):
    """Normalised heat trace from the matrix exponential of the Laplacian."""
    far = distances(x)
    np.fill_diagonal(far, np.inf)
    near = np.zeros_like(far)
    np.put_along_axis(near, np.argsort(far, 1, kind="stable")[:, :k], 1, axis=1)
    edges = np.maximum(near, near.T)
    root = np.diag(edges.sum(1) ** -0.5)
    laplacian = np.eye(len(x)) - root @ edges @ root
    return np.array([np.trace(expm(-t * laplacian)) / len(x) for t in times])


def ring(n):
    angle = 2 * np.pi * np.arange(n) / n
    return np.column_stack([np.cos(angle), np.sin(angle)])


TIMES = np.logspace(-1, 1, 256)
WEIGHT = np.exp(-2 * (TIMES + 1 / TIMES))


def test_the_intrinsic_distance_is_that_of_matrix_exponentials():
    x, y = pair(24)[0], pair(17, seed=1)[1]
    for k in (2, 5):
        expected = np.max(WEIGHT * np.abs(heat(x, k, TIMES) - heat(y, k, TIMES)))
        with jax.enable_x64(True):
            assert float(sim.imd(x, y, k=k)) == pytest.approx(expected, rel=1e-9)
        assert float(sim.imd(x, y, k=k)) == pytest.approx(expected, rel=2e-4)


def test_rings_and_cliques_have_the_distance_of_their_known_spectra():
    def trace(spectrum):
        return np.exp(-np.outer(TIMES, spectrum)).mean(1)

    rings = {n: trace(1 - np.cos(2 * np.pi * np.arange(n) / n)) for n in (5, 12, 40)}
    clique = trace(np.array([0, 1.5, 1.5]))
    x = np.random.default_rng(0).normal(size=(3, 2))
    with jax.enable_x64(True):
        assert float(sim.imd(ring(5), ring(12), k=2)) == pytest.approx(np.max(WEIGHT * abs(rings[5] - rings[12])))
        assert float(sim.imd(x, ring(40), k=2)) == pytest.approx(np.max(WEIGHT * abs(clique - rings[40])))


def test_the_intrinsic_distance_ignores_order_similarity_and_number_of_copies():
    x, y = pair()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    with jax.enable_x64(True):
        before = float(sim.imd(x, y))
        assert float(sim.imd(3 * x[::-1] @ turn + 7, y)) == pytest.approx(before, abs=1e-12)
        twice = np.concatenate([x, x + 1e3])
        assert float(sim.imd(twice, y)) == pytest.approx(before, abs=1e-12)
        assert float(sim.imd(x, twice)) == pytest.approx(0, abs=1e-12)
        assert before > 1e-5


def test_the_intrinsic_distance_obeys_the_triangle_inequality_and_its_range():
    with jax.enable_x64(True):
        clouds = [ring(7), ring(30), pair()[0], pair()[1], np.eye(6), np.arange(12.0)[:, None]]
        d = np.array([[float(sim.imd(a, b, k=2)) for b in clouds] for a in clouds])
    assert (d <= (d[:, :, None] + d[None]).min(1) + 1e-15).all()
    assert (0 <= d).all() and d.max() < np.exp(-4)
    np.testing.assert_allclose(d, d.T, atol=1e-15)
    assert (d + np.eye(len(d)) > 1e-9).all()


def test_the_intrinsic_distance_grows_with_the_difference_in_dimension():
    random = np.random.default_rng(0)
    lines, sheets, solids = (random.normal(size=(2, 300, p)) for p in (1, 2, 5))
    with jax.enable_x64(True):
        same = [float(sim.imd(*clouds)) for clouds in (lines, sheets, solids)]
        other = [float(sim.imd(lines[0], sheets[0])), float(sim.imd(sheets[0], solids[0]))]
        assert max(same) < min(other) < max(other) < float(sim.imd(lines[0], solids[0]))


def test_the_intrinsic_distance_compiles_and_takes_layers_of_a_grid():
    x, y = (jnp.asarray(a, jnp.float32) for a in pair())
    np.testing.assert_allclose(jax.jit(sim.imd)(x, y), sim.imd(x, y), rtol=1e-4)
    batch = jax.vmap(sim.imd)(jnp.stack([x, 2 * x]), jnp.stack([y, y]))
    np.testing.assert_allclose(batch, sim.imd(x, y), rtol=1e-3)
    got = sim.grid(sim.imd, [x, y], k=4)
    np.testing.assert_allclose(got, [[0, sim.imd(x, y, k=4)], [sim.imd(x, y, k=4), 0]], rtol=1e-4, atol=1e-8)
    assert not np.asarray(jax.grad(sim.imd)(x, y)).any()


def test_the_intrinsic_distance_refuses_what_has_no_graph():
    x, y = pair()
    for k in (0, 4, 30):
        with pytest.raises(ValueError, match=r"^k: expected 1 <= k <= 3"):
            sim.imd(x[:4], y, k=k)
    with pytest.raises(ValueError, match="^x: expected rows that differ"):
        sim.imd(np.ones((9, 2)), y)
    with pytest.raises(ValueError, match="^y: expected finite"):
        sim.imd(x, y * np.nan)
