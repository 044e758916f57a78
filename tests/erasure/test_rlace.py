"""Is the game the one of the paper, is the low-rank form exact, and is the certificate honest?"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression

from repgeo.erasure import fantope, mean_projection, rlace, rlace_runs
from repgeo.erasure.rlace import State, play

GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "erasure.npz", allow_pickle=False))
KEY = jax.random.key(0)


def data(name):
    return GOLDEN[f"{name}/X"].astype(np.float32), GOLDEN[f"{name}/y"].astype(np.int64)


def dense_fantope(values, k):
    theta = brentq(lambda t: np.clip(values - t, 0, 1).sum() - k, values.min() - 1, values.max(), xtol=1e-15)
    return np.clip(values - theta, 0, 1)


def dense_game(p, weights, bias, x, z, rows, k, rate):
    """The game with the whole matrix and a full eigendecomposition in every step: textbook, float64."""
    for for_p, for_w in rows:
        for side, r in (("p", for_p), ("w", for_w)):
            erased = x[r] - x[r] @ p
            scores = np.exp(erased @ weights + bias)
            errors = (scores / (1 + scores.sum(1, keepdims=True)) - z[r]) / len(r)
            if side == "p":
                slope = x[r].T @ errors @ weights.T
                values, vectors = np.linalg.eigh(p - rate / 2 * (slope + slope.T))
                p = (vectors * dense_fantope(values, k)) @ vectors.T
            else:
                weights, bias = weights - rate * erased.T @ errors, bias - rate * errors.sum(0)
    return p, weights, bias


def played(c, k, dtype, width, p=24, n=200, steps=300):
    """Both forms of one game, from one start with the same batches: (P low-rank, P dense, dropped)."""
    random = np.random.default_rng(c)
    y = np.arange(n) % c
    x = random.normal(size=(n, p)) @ random.normal(size=(p, p)) / p**0.5 + random.normal(size=(c, p))[y]
    x, z = x - x.mean(0), np.eye(c)[y][:, 1:]
    basis = np.linalg.qr(random.normal(size=(p, width)))[0]
    values = np.where(np.arange(width) < k + 1, k / (k + 1), 0)
    weights, bias = random.uniform(-1, 1, (p, c - 1)) / p**0.5, np.zeros(c - 1)
    rows = random.integers(0, n, (steps, 2, 32))
    right = dense_game((basis * values) @ basis.T, weights, bias, x, z, rows, k, 0.05)[0]
    start = [jnp.asarray(a, dtype) for a in (basis, values, 0.0, weights, bias, 0.0)]
    end = jax.jit(partial(play, rate=0.05))(State(*start), *(jnp.asarray(a, dtype) for a in (x, z)), rows, float(k))
    got = (end.basis * (end.values - end.rest)[None]) @ end.basis.T + end.rest * np.eye(p)
    return got, right, float(end.dropped)


@pytest.mark.parametrize("i", range(6))
def test_the_projection_onto_the_fantope_is_exact(i):
    values, k, right = (GOLDEN[f"fantope/{i}/{name}"] for name in ("lam", "k", "exact"))
    with jax.enable_x64(True):
        np.testing.assert_allclose(fantope(jnp.asarray(values), int(k))[0], right, atol=1e-12)
    np.testing.assert_allclose(fantope(jnp.asarray(values, jnp.float32), int(k))[0], right, atol=1e-5)


@pytest.mark.parametrize("rest", [-0.3, 0.0, 0.2, 1.5])
def test_an_eigenvalue_that_is_there_many_times_counts_as_often(rest):
    values = np.random.default_rng(0).normal(size=5)
    with jax.enable_x64(True):
        got, end = fantope(jnp.asarray(values), 3, rest=rest, times=20)
        right = dense_fantope(np.append(values, [rest] * 20), 3)
        np.testing.assert_allclose(np.append(got, end), right[:6], atol=1e-12)
        assert np.isnan(fantope(jnp.asarray(values), 6)[0]).all()


@pytest.mark.parametrize("c, k", [(2, 1), (4, 2)])
def test_a_few_eigenvectors_and_one_value_for_the_rest_play_the_game_of_the_whole_matrix(c, k):
    with jax.enable_x64(True):
        got, right, dropped = played(c, k, np.float64, width=18)
        assert dropped < 1e-9
        np.testing.assert_allclose(got, right, atol=1e-8)
    got, right, _ = played(c, k, np.float32, width=18)
    np.testing.assert_allclose(got, right, atol=1e-4)
    np.testing.assert_allclose(np.trace(got), k, atol=1e-4)


@pytest.mark.parametrize("c, k", [(2, 2), (4, 6)])
def test_with_all_eigenvectors_kept_it_is_exact_at_any_rank(c, k):
    with jax.enable_x64(True):
        got, right, dropped = played(c, k, np.float64, width=24)
        assert dropped == 0
        np.testing.assert_allclose(got, right, atol=1e-8)
    got, right, _ = played(c, k, np.float32, width=24)
    np.testing.assert_allclose(got, right, atol=1e-4)


def test_features_of_a_lower_rank_leave_the_basis_orthonormal():
    random = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = (random.normal(size=(200, 3)) + y[:, None]) @ random.normal(size=(3, 24))
    x, z = x - x.mean(0), np.eye(2)[y][:, 1:]
    basis = np.linalg.qr(random.normal(size=(24, 12)))[0]
    start = [basis, np.where(np.arange(12) < 3, 1 / 3, 0), 0.0, random.normal(size=(24, 1)) / 5, np.zeros(1), 0.0]
    rows = random.integers(0, 200, (700, 2, 32))
    end = jax.jit(partial(play, rate=0.05))(
        State(*(jnp.asarray(a, jnp.float32) for a in start)), *(jnp.asarray(a, jnp.float32) for a in (x, z)), rows, 1.0
    )
    np.testing.assert_allclose(end.basis.T @ end.basis, np.eye(12), atol=1e-4)


def test_a_game_that_leaves_out_too_much_is_played_again_with_more():
    x, y = data("s0")
    settings = {"rank": 6, "key": KEY, "start": "random", "steps": 400, "every": 400, "learning_rate": 0.05}
    settings["tolerance"] = 1.0
    assert float(rlace(x, y, width=8, **settings).dropped) > 2e-5 >= float(rlace(x, y, **settings).dropped)


@pytest.mark.parametrize("width", [8, 18])
def test_where_more_eigenvalues_are_in_use_than_are_kept_it_says_so(width):
    with jax.enable_x64(True):
        got, right, dropped = played(4, 6, np.float64, width=width)
        error = np.abs(got - right).max()
        assert 1e-4 < error < 5 * dropped < 0.1


@pytest.mark.parametrize("name", ["s0", "s2"])
def test_with_enough_rank_the_closed_form_needs_no_step(name):
    x, y = data(name)
    game = rlace(x, y, rank=int(y.max()), key=KEY)
    assert int(game.steps) == 0 and abs(float(game.certificate)) < 1e-5
    right = mean_projection(x, y, labels="categorical").projector
    np.testing.assert_allclose(game.eraser.projector, right, atol=1e-5)


def test_of_four_classes_a_random_start_reaches_the_optimum_too():
    x, y = data("s2")
    game = rlace(x, y, rank=3, key=KEY, start="random")
    assert -1e-5 < float(game.certificate) <= 1e-3 and float(game.dropped) <= 2e-5


def test_from_a_random_start_the_game_ends_at_the_difference_of_class_means():
    x, y = data("s0")
    game = rlace(x, y, rank=1, key=KEY, start="random")
    assert 0 < int(game.steps) <= 20_000
    assert -1e-5 < float(game.certificate) <= 1e-3
    direction = x[y == 1].mean(0) - x[y == 0].mean(0)
    cosine = direction @ game.eraser.left[:, 0] / np.linalg.norm(direction)
    assert abs(cosine) > 0.999 > float(GOLDEN["s0/rlace_vs_sal_cos"][0]) - 0.01
    np.testing.assert_allclose(game.eraser.projector @ game.eraser.projector, game.eraser.projector, atol=1e-5)


def test_a_constant_column_stays_constant():
    x, y = data("s0")
    wide = np.pad(x, ((0, 0), (0, 3)), constant_values=5.0)
    game = rlace(wide, y, rank=1, key=KEY, start="random")
    assert game.certificate <= 1e-3
    np.testing.assert_allclose(game.eraser.transform(wide)[:, -3:], 5, atol=1e-5)


def test_the_certificate_is_what_a_probe_fitted_elsewhere_still_reads():
    x, y = data("s2")
    with pytest.warns(UserWarning, match=r"rlace stopped after 200 steps .* still reads .* nats, above the tol"):
        game = rlace(x, y, rank=1, key=KEY, start="random", steps=200, every=100)
    erased = np.asarray(game.eraser.transform(x), np.float64)
    erased = erased - erased.mean(0)
    erased = erased / np.sqrt((erased**2).mean())
    oracle = LogisticRegression(C=1 / (1e-4 * len(x)), tol=1e-8, max_iter=5000).fit(erased, y)
    reads = -np.mean(oracle.predict_log_proba(erased)[np.arange(len(y)), y])
    shares = np.bincount(y) / len(y)
    np.testing.assert_allclose(game.certificate, -(shares * np.log(shares)).sum() - reads, atol=2e-3)
    assert float(game.certificate) > 0.1


def test_ranks_and_seeds_run_in_one_call_as_they_do_alone():
    x, y = data("s0")
    x, y = x[:300], y[:300]
    settings = {"start": "random", "steps": 200, "every": 100, "most": 2, "classes": 2, "tolerance": 0.0}
    ranks, keys = jnp.array([1, 2]), jax.random.split(KEY, 2)
    with jax.enable_x64(True):  # so that a game that differs differs for another reason than rounding
        x = x.astype(np.float64)
        games = jax.vmap(lambda k, key: rlace(x, y, rank=k, key=key, **settings))(ranks, keys)
        for i in range(2):
            with pytest.warns(UserWarning, match="rlace stopped"):
                alone = rlace(x, y, rank=ranks[i], key=keys[i], **settings)
            np.testing.assert_allclose(games.certificate[i], alone.certificate, atol=1e-5)
            np.testing.assert_allclose(
                games.eraser.left[i] @ games.eraser.right[i], alone.eraser.left @ alone.eraser.right, atol=1e-5
            )


def test_many_runs_are_those_that_are_played_alone():
    x, y = data("s0")
    x, y = x[:300], y[:300]
    settings = {"start": "random", "steps": 200, "every": 100, "tolerance": 0.0, "width": 14}
    with jax.enable_x64(True):
        x = x.astype(np.float64)
        with pytest.warns(UserWarning, match="4 of 4 runs of rlace stopped after 200 steps .* still reads"):
            games = rlace_runs(x, y, ranks=(1, 2), seeds=2, key=KEY, **settings)
        assert games.certificate.shape == (2, 2) and (np.asarray(games.steps) == 200).all()
        keys = jax.random.split(KEY, 2)
        for i, j in ((0, 1), (1, 0)):
            with pytest.warns(UserWarning, match="rlace stopped"):
                alone = rlace(x, y, rank=i + 1, most=2, key=keys[j], **settings)
            np.testing.assert_allclose(games.certificate[i, j], alone.certificate, atol=1e-8)
            left, right = games.eraser.left[i, j], games.eraser.right[i, j]
            np.testing.assert_allclose(left @ right, alone.eraser.left @ alone.eraser.right, atol=1e-8)


def test_a_run_that_has_ended_waits_unchanged_for_the_others():
    x, y = data("s0")
    games = rlace_runs(x, y, ranks=(1, 2), seeds=2, key=KEY, every=500)
    steps = np.asarray(games.steps)
    assert (np.asarray(games.certificate) <= 1e-3).all() and (steps % 500 == 0).all() and steps.min() < steps.max()
    first = rlace(x, y, rank=1, most=2, key=jax.random.split(KEY, 2)[0], start="random", every=500)
    assert int(first.steps) == steps[0, 0]


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"rank": 0}, ValueError, "rank: expected 1 <= rank <= 3"),
        ({"rank": 4}, ValueError, r"rank: expected 1 <= rank <= 3 \(fewer than all features\)"),
        ({"rank": 1.5}, TypeError, "rank: expected an integer; got float 1.5"),
        ({"rank": jnp.array(1)}, ValueError, "most: expected the largest rank; got None"),
        ({"start": "warm"}, ValueError, "start: expected one of closed, random; got 'warm'"),
        ({"steps": -1}, ValueError, "steps: expected 0 <= steps"),
        ({"steps": 0, "start": "random"}, ValueError, "steps: expected 1 <= steps"),
        ({"width": 5}, ValueError, r"width: expected 1 <= width <= 4 \(the largest rank, and features\); got 5"),
        ({"learning_rate": 0}, ValueError, "learning_rate: expected"),
        ({"y": np.zeros(30, int)}, ValueError, "y: expected at least two classes"),
        ({"x": np.full((30, 4), np.inf)}, ValueError, "x: expected finite values"),
    ],
)
def test_bad_input_gives_one_clear_error(change, error, message):
    given = {"x": np.random.default_rng(0).normal(size=(30, 4)), "y": np.arange(30) % 2, "rank": 1, "key": KEY} | change
    with pytest.raises(error, match=message):
        rlace(given.pop("x"), given.pop("y"), **given)
