"""R-LACE: the game between a projection and a linear adversary, played until a certificate says how far it got."""

import warnings
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.erasure.eraser import Eraser, about
from repgeo.erasure.linear import mean_directions
from repgeo.probes.linear import fit_logistic, labelled, linear_scores

STARTS = ("closed", "random")
_SPARE = 8  # eigenvalues kept beside the rank and what one step adds: 7 to 10 are active


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Game:
    """Where a game ended: the eraser, its certificate (), steps played () and what the low-rank form left out ().

    `certificate` is H(y) - CE in nats, with CE the cross-entropy of a logistic probe fitted to convergence on the
    erased rows: what a linear probe still reads. No projection can bring it below 0, so it bounds how far from the
    optimum the game stopped. `dropped` is the largest eigenvalue, less the one of all directions not kept, that a step
    has left out: 0 to rounding where the low-rank form was exact.
    """

    eraser: Eraser
    certificate: Array
    steps: Array
    dropped: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Both players: P = basis diag(values) basis^T + rest (I - basis basis^T), weights (p, q) and bias (q,)."""

    basis: Array
    values: Array
    rest: Array
    weights: Array
    bias: Array
    dropped: Array


def rlace(
    x: Array, y: Array, *, rank: int, key: Array, classes: int | None = None, start: str = "closed",
    most: int | None = None, steps: int = 20_000, every: int = 1000, batch: int = 128, learning_rate: float = 0.005,
    tolerance: float = 1e-3,
) -> Game:
    """R-LACE: a projection of `rank` directions against a linear probe that learns meanwhile; max over P, min over w.

    x (n, p), y (n,) with classes 0 ... c - 1. P climbs the adversary's cross-entropy over 0 <= P <= I, tr P = `rank`
    (the Fantope), onto which every step is projected exactly, and the adversary descends it; at the end the leading
    eigenvectors are removed, about the mean of x. Each `every` steps the certificate is taken, the best P is kept, and
    the game ends when it is below `tolerance`, else after `steps` with a warning. **With rank >= c - 1 the optimum is
    known**: `mean_projection` reaches a certificate of 0, and start="closed" begins there (below c - 1 with the
    leading directions of `sal`), so that no step is played; start="random" plays from nothing. For a fixed adversary
    the loss is convex in P: the game has no guarantee, hence the certificate.

    P is kept as a few eigenvectors and one eigenvalue for all the rest; a step has rank 2 (c - 1), so the projection
    is an eigenproblem of size rank + 8 + 4 (c - 1) instead of p: O(batch p + p (rank + 4 c)^2) a step. That is exact
    while no more eigenvalues are in use, as at rank <= c - 1; at higher ranks, where there is nothing left to win,
    the smallest are merged into the rest and `dropped` says how large they were. Batches of
    min(batch, n) rows, drawn anew for each player; features are centred and brought to mean variance 1. Under vmap
    `rank` may be traced: give `most`, the largest. Errors as `probes.logistic`; ValueError unless 1 <= rank < p.
    Source: Ravfogel et al. 2022, algorithm 1.

    >>> import jax, jax.numpy as jnp
    >>> x, y = jnp.array([[0.0, 1.0], [0.0, 3.0], [1.0, 2.0], [1.0, 6.0]]), [0, 0, 1, 1]
    >>> game = rlace(x, y, rank=1, key=jax.random.key(0))
    >>> bool(game.certificate < 1e-3), int(game.steps), int(game.eraser.rank)
    (True, 0, 1)
    """
    x, y, c = labelled(x, y, classes)
    p = x.shape[1]
    if not isinstance(rank, jax.Array):
        rank = checks.count(rank, "rank", low=1, high=p - 1, why="fewer than all features")
    if most is None and not isinstance(rank, int):
        raise ValueError("most: expected the largest rank; got None, with a rank that is an array")
    most = rank if most is None else checks.count(most, "most", low=1, high=p - 1, why="fewer than all features")
    checks.choice(start, "start", STARTS)
    steps = checks.count(steps, "steps", low=0, high=10**8)
    every = checks.count(every, "every", low=1, high=10**8)
    batch = min(checks.count(batch, "batch", low=1, high=2**31), len(x))
    rate = checks.real(learning_rate, "learning_rate", low=0, open_low=True)
    tolerance = checks.real(tolerance, "tolerance", low=0)
    game = _game(
        key, x, y, jnp.asarray(rank), rate, tolerance, c=c, most=most, start=start, steps=steps, every=every,
        batch=batch,
    )
    if checks.is_concrete(game.certificate):
        checks.defined(game.certificate, "the game is not finite any more: lower learning_rate")
        if not np.all(game.certificate <= tolerance):
            warnings.warn(
                f"rlace stopped after {int(game.steps)} steps where a linear probe still reads "
                f"{float(game.certificate):.1e} nats, above the tolerance {tolerance}",
                stacklevel=2,
            )
    return game


def fantope(values: Array, k: Array, *, rest: Array | float = 0.0, times: int = 0) -> tuple[Array, Array]:
    """Euclidean projection of eigenvalues (m,), and one more that is there `times` times, onto 0 <= l <= 1, sum l = k.

    The answer is clip(l - theta, 0, 1); theta is found exactly, as the root of a function that is linear between the
    knots l and l - 1. Returns the projected values (m,) and the projected `rest`. NaN where k > m + times. O(m^2).

    >>> import jax.numpy as jnp
    >>> fantope(jnp.array([1.5, 0.5, 0.0]), 1)[0].tolist()
    [1.0, 0.0, 0.0]
    """
    rest = jnp.asarray(rest, values.dtype)
    ends = jnp.append(values, rest) if times else values
    knots = jnp.sort(jnp.concatenate([ends, ends - 1]))

    def total(theta):
        return jnp.sum(jnp.clip(values - theta, 0, 1)) + times * jnp.clip(rest - theta, 0, 1)

    sums = jax.vmap(total)(knots)  # falls from m + times to 0
    left = jnp.clip(jnp.sum(sums >= k) - 1, 0, len(knots) - 2)
    drop = sums[left] - sums[left + 1]
    share = jnp.where(drop > 0, (sums[left] - k) / jnp.where(drop > 0, drop, 1), 0)
    theta = knots[left] + share * (knots[left + 1] - knots[left])
    theta = jnp.where(sums[0] >= k, theta, jnp.nan)
    return jnp.clip(values - theta, 0, 1), jnp.clip(rest - theta, 0, 1)


def play(state: State, x: Array, z: Array, rows: Array, k: Array, rate: float) -> State:
    """One game of len(rows) steps on rows (steps, 2, batch): of each step one batch for P, then one for the adversary.

    x (n, p) centred, z (n, q) columns of 0 and 1 of all classes but the first.
    """

    def step(state, batches):
        state = _climbed(state, *(a[batches[0]] for a in (x, z)), k, rate)
        return _descended(state, *(a[batches[1]] for a in (x, z)), rate), None

    return lax.scan(step, state, rows)[0]


def _errors(state, x, z):
    """(softmax - z) / batch for the adversary's scores of the erased rows, the first class having score 0."""
    kept = x - _projected(state, x)
    scores = linalg.matmul(kept, state.weights) + state.bias[None]
    top = jnp.maximum(scores.max(1, keepdims=True), 0)
    odds = jnp.exp(scores - top)
    return kept, (odds / (odds.sum(1, keepdims=True) + jnp.exp(-top)) - z) / len(x)


def _projected(state, x):
    return linalg.matmul(linalg.matmul(x, state.basis) * (state.values - state.rest)[None], state.basis.T) + (
        state.rest * x
    )


def _climbed(state, x, z, k, rate):
    """A gradient step of P, and its projection onto the Fantope, in the span of the basis and the gradient."""
    _, errors = _errors(state, x, z)
    slope = linalg.matmul(x.T, errors)  # the loss has the gradient -(slope weights^T + weights slope^T) / 2 in P
    width, q = len(state.values), slope.shape[1]
    frame, r = jnp.linalg.qr(jnp.concatenate([state.basis, slope, state.weights], 1))
    inside, a, w = r[:, :width], r[:, width : width + q], r[:, width + q :]
    cross = linalg.matmul(a, w.T)
    block = linalg.matmul(inside * (state.values - state.rest)[None], inside.T) - rate / 2 * (cross + cross.T)
    values, vectors = jnp.linalg.eigh(block)
    values, rest = fantope(values + state.rest, k, rest=state.rest, times=len(frame) - len(values))
    away = jnp.abs(values - rest)
    _, kept = lax.top_k(away, width)
    order = jnp.sort(away)
    dropped = order[-width - 1] if len(away) > width else jnp.zeros((), x.dtype)
    return State(
        linalg.matmul(frame, vectors[:, kept]), values[kept], rest, state.weights, state.bias,
        jnp.maximum(state.dropped, dropped),
    )


def _descended(state, x, z, rate):
    kept, errors = _errors(state, x, z)
    return State(
        state.basis, state.values, state.rest, state.weights - rate * linalg.matmul(kept.T, errors),
        state.bias - rate * errors.sum(0), state.dropped,
    )


@partial(jax.jit, static_argnames=("c", "most", "start", "steps", "every", "batch"))
def _game(key, x, y, k, rate, tolerance, *, c, most, start, steps, every, batch):
    n, p = x.shape
    mean = x.mean(0)
    x = linalg.center(x)
    scale = linalg.safe_sqrt((x**2).mean())
    x = x / jnp.where(scale > 0, scale, 1)
    z = jax.nn.one_hot(y, c, dtype=x.dtype)
    shares = z.mean(0)
    entropy = -jnp.sum(jnp.where(shares > 0, shares * jnp.log(jnp.where(shares > 0, shares, 1)), 0))
    width = min(p, most + _SPARE + 2 * (c - 1))
    at_p, at_w, order = jax.random.split(key, 3)
    drawn = jax.random.normal(at_p, (p, width), x.dtype)
    spread = min(width, most + 2)  # a few directions, so that those to come find room beside them
    values = jnp.where(jnp.arange(width) < spread, k / spread, 0).astype(x.dtype)
    if start == "closed":
        drawn = jnp.concatenate([mean_directions(x, z), drawn], 1)[:, :width]
        values = jnp.where(jnp.arange(width) < k, 1, 0).astype(x.dtype)
    zero = jnp.zeros((), x.dtype)
    weights = jax.random.uniform(at_w, (p, c - 1), x.dtype, -1, 1) / p**0.5
    state = State(jnp.linalg.qr(drawn)[0], values, zero, weights, jnp.zeros(c - 1, x.dtype), zero)

    def judged(state):
        _, leading = lax.top_k(state.values, most)
        removed = state.basis[:, leading] * (jnp.arange(most) < k)[None]
        erased = x - linalg.matmul(linalg.matmul(x, removed), removed.T)
        scores = linear_scores(fit_logistic(erased, z, 1e-4, 1e-4), erased)
        gap = entropy + jnp.mean(jnp.sum(z * jax.nn.log_softmax(scores, 1), 1))
        return removed, gap

    def more(carry):
        _, _, gap, played = carry
        return (gap > tolerance) & (played < steps)

    def chunk(carry):
        state, best, gap, played = carry
        rows = jax.random.randint(jax.random.fold_in(order, played), (every, 2, batch), 0, n)
        state = play(state, x, z[:, 1:], rows, k, rate)
        removed, found = judged(state)
        return state, jnp.where(found < gap, removed, best), jnp.minimum(found, gap), played + every

    state, best, gap, played = lax.while_loop(more, chunk, (state, *judged(state), 0))
    finite = jnp.isfinite(state.values).all() & jnp.isfinite(state.weights).all()
    return Game(about(mean, best, best.T), jnp.where(finite, gap, jnp.nan), jnp.asarray(played), state.dropped)
