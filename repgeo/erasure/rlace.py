"""R-LACE: the game between a projection and a linear adversary, played until a certificate says how far it got."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.erasure.concept import mean_directions
from repgeo.erasure.eraser import Eraser, about
from repgeo.probes.linear import fit_white, labelled, whitened

STARTS = ("closed", "random")
_LEFT_OUT = 2e-5  # of an eigenvalue: less does not show in P at 1e-4
_SPARE = 8  # eigenvalues kept beside the rank and what one step adds: 7 to 10 are active
_L2 = 1e-4  # of the probe that judges
_AGAIN = 32  # steps after which the basis is made orthonormal again


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
    tolerance: float = 1e-3, width: int | None = None,
) -> Game:
    """R-LACE: a projection of `rank` directions against a linear probe that learns meanwhile; max over P, min over w.

    x (n, p), y (n,) with classes 0 ... c - 1. P climbs the adversary's cross-entropy over 0 <= P <= I, tr P = `rank`
    (the Fantope), onto which every step is projected exactly, and the adversary descends it; at the end the leading
    eigenvectors are removed, about the mean of x. Each `every` steps the certificate is taken, the best P is kept, and
    the game ends when it is below `tolerance`, else after `steps` with a warning. **With rank >= c - 1 the optimum is
    known**: `mean_projection` reaches a certificate of 0, and start="closed" begins there (below c - 1 with the
    leading directions of `sal`), so that no step is played; start="random" plays from nothing. For a fixed adversary
    the loss is convex in P: the game has no guarantee, hence the certificate.

    P is kept as `width` eigenvectors and one eigenvalue for all the rest; a step has rank 2 (c - 1), so the projection
    is an eigenproblem of size width + 2 (c - 1) instead of p: O(batch p + p width^2) a step. That is exact while no
    more eigenvalues are in use, as at rank <= c - 1. At higher ranks, where there is nothing left to win, the dense
    game puts a little into every direction: what a step leaves out is `dropped`, and while that exceeds 2e-5 the game
    is played again with twice the width, up to p, unless `width` is given; under a trace it is rank + 2 c + 6, and
    `dropped` says what that cost. Batches of min(batch, n) rows, drawn anew for each player; features are centred and
    brought to mean variance 1. Under vmap `rank` may be traced: give `most`, the largest; many ranks and seeds
    in one call are `rlace_runs`. Errors as `probes.logistic`; ValueError unless 1 <= rank < p, rank <= width <= p.
    Source: Ravfogel et al. 2022, algorithm 1.

    >>> import jax, jax.numpy as jnp
    >>> x, y = jnp.array([[0.0, 1.0], [0.0, 3.0], [1.0, 2.0], [1.0, 6.0]]), [0, 0, 1, 1]
    >>> game = rlace(x, y, rank=1, key=jax.random.key(0))
    >>> bool(game.certificate < 1e-3), int(game.steps), int(game.eraser.rank)
    (True, 0, 1)
    """
    if most is None and isinstance(rank, jax.Array):
        raise ValueError("most: expected the largest rank; got None, with a rank that is an array")
    p = checks.matrix(x, "x", values=False).shape[1]
    if not isinstance(rank, jax.Array):
        rank = checks.count(rank, "rank", low=1, high=p - 1, why="fewer than all features")
    most = rank if most is None else checks.count(most, "most", low=1, high=p - 1, why="fewer than all features")
    game = _widened(
        lambda x, y, settings: jax.tree.map(
            lambda a: a[0, 0], _games(key[None], x, y, jnp.asarray(rank)[None], **settings)
        ),
        x, y, classes, most=most, start=start, steps=steps, every=every, batch=batch, rate=learning_rate,
        tolerance=tolerance, width=width,
    )
    return _told(game, tolerance)


def rlace_runs(
    x: Array, y: Array, *, ranks: Sequence[int], seeds: int, key: Array, classes: int | None = None,
    start: str = "random", steps: int = 20_000, every: int = 1000, batch: int = 128, learning_rate: float = 0.005,
    tolerance: float = 1e-3, width: int | None = None,
) -> Game:
    """`rlace` at all `ranks`, from `seeds` starts each, in one call: a Game whose arrays begin (len(ranks), seeds).

    Run j plays with jax.random.split(key, seeds)[j] at every rank, so that ranks are compared on the same batches,
    which are then drawn once for all of them; it goes on until the last run has ended or `steps`. One run of it is
    `rlace` with `most` the largest rank. `jax.tree.map(lambda a: a[i, j], game)` is one. Warns, as `rlace`, with the
    number of runs that missed the tolerance and the worst. Errors as `rlace`.

    >>> import jax, jax.numpy as jnp
    >>> x = jax.random.normal(jax.random.key(0), (60, 5)) + jnp.arange(60)[:, None] % 2 * jnp.array([[2.0, 0, 0, 0, 0]])
    >>> games = rlace_runs(x, jnp.arange(60) % 2, ranks=(1, 2), seeds=3, key=jax.random.key(1))
    >>> games.certificate.shape, bool((games.certificate <= 1e-3).all())
    ((2, 3), True)
    """
    p = checks.matrix(x, "x", values=False).shape[1]
    if not len(ranks):
        raise ValueError("ranks: expected at least one; got none")
    ranks = [checks.count(rank, "ranks", low=1, high=p - 1, why="fewer than all features") for rank in ranks]
    keys = jax.random.split(key, checks.count(seeds, "seeds", low=1, high=10**6))
    game = _widened(
        lambda x, y, settings: _games(keys, x, y, jnp.asarray(ranks), **settings),
        x, y, classes, most=max(ranks), start=start, steps=steps, every=every, batch=batch, rate=learning_rate,
        tolerance=tolerance, width=width,
    )
    return _told(game, tolerance)


def _widened(played, x, y, classes, *, most, start, steps, every, batch, rate, tolerance, width):
    """The game on checked input, played again at twice the width while it leaves out too much."""
    x, y, c = labelled(x, y, classes)
    n, p = x.shape
    settings = {
        "c": c, "most": most, "start": checks.choice(start, "start", STARTS),
        "steps": checks.count(steps, "steps", low=int(start == "random"), high=10**8),
        "every": checks.count(every, "every", low=1, high=10**8),
        "batch": min(checks.count(batch, "batch", low=1, high=2**31), n),
        "rate": checks.real(rate, "learning_rate", low=0, open_low=True),
        "tolerance": checks.real(tolerance, "tolerance", low=0),
    }
    if width is not None:
        width = checks.count(width, "width", low=most, high=p, why="the largest rank, and features")
        return played(x, y, settings | {"width": _roomy(width, p, c)})
    width = _roomy(most + _SPARE + 2 * (c - 1), p, c)
    game = played(x, y, settings | {"width": width})
    while width < p and checks.is_concrete(game.dropped) and not np.all(np.asarray(game.dropped) <= _LEFT_OUT):
        width = _roomy(2 * width, p, c)
        game = played(x, y, settings | {"width": width})
    return game


def _roomy(width, p, c):
    return width if width + 2 * (c - 1) <= p else p  # beyond that a step has no room for its new directions


def _told(game, tolerance):
    if checks.is_concrete(game.certificate):
        reads = np.asarray(checks.defined(game.certificate, "the game is not finite any more: lower learning_rate"))
        missed = ~(reads <= tolerance)
        if missed.any():
            runs = f"{missed.sum()} of {missed.size} runs of rlace" if missed.ndim else "rlace"
            warnings.warn(
                f"{runs} stopped after {np.asarray(game.steps).max()} steps where a linear probe still reads "
                f"{reads.max():.1e} nats, above the tolerance {tolerance}",
                stacklevel=3,
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
    knots = jnp.concatenate([ends, ends - 1])
    sums = jnp.sum(jnp.clip(values[None] - knots[:, None], 0, 1), 1)
    sums = sums + times * jnp.clip(rest - knots, 0, 1)  # falls from m + times to 0 as the knots rise
    enough = sums >= k
    low, most = jnp.max(knots, initial=-jnp.inf, where=enough), jnp.min(sums, initial=jnp.inf, where=enough)
    high, least = jnp.min(knots, initial=jnp.inf, where=~enough), jnp.max(sums, initial=0, where=~enough)
    share = (most - k) / (most - least)
    theta = jnp.where(enough.any() & (k > 0), low + jnp.where(share > 0, share * (high - low), 0), jnp.nan)
    return jnp.clip(values - theta, 0, 1), jnp.clip(rest - theta, 0, 1)


def play(state: State, x: Array, z: Array, rows: Array, k: Array, rate: float) -> State:
    """One game of len(rows) steps on rows (steps, 2, batch): of each step one batch for P, then one for the adversary.

    x (n, p) centred, z (n, q) columns of 0 and 1 of all classes but the first.
    """

    def step(state, at):
        i, batches = at
        state = _climbed(state, *(a[batches[0]] for a in (x, z)), k, rate, i)
        state = lax.cond(i % _AGAIN == 0, _squared_up, lambda s: s, state)
        return _descended(state, *(a[batches[1]] for a in (x, z)), rate), None

    return lax.scan(step, state, (jnp.arange(len(rows)), rows))[0]


def _errors(state, x, z):
    """(softmax - z) / batch for the adversary's scores of the erased rows, the first class having score 0.

    Its weights are erased, not the rows: that is the same product for the cost of one direction.
    """
    scores = linalg.matmul(x, _erased(state, state.weights)) + state.bias[None]
    top = jnp.maximum(scores.max(1, keepdims=True), 0)
    odds = jnp.exp(scores - top)
    return (odds / (odds.sum(1, keepdims=True) + jnp.exp(-top)) - z) / len(x)


def _erased(state, columns):
    """(I - P) applied to columns (p, q)."""
    inside = (state.values - state.rest)[:, None] * linalg.matmul(state.basis.T, columns)
    return (1 - state.rest) * columns - linalg.matmul(state.basis, inside)


def _climbed(state, x, z, k, rate, turn):
    """A gradient step of P, and its projection onto the Fantope, in the span of the basis and the gradient."""
    slope = linalg.matmul(x.T, _errors(state, x, z))  # the loss has gradient -(slope weights^T + weights slope^T) / 2
    width, q = len(state.values), slope.shape[1]
    frame = state.basis
    if width < len(frame):
        for i, column in enumerate((*slope.T, *state.weights.T)):
            frame = _extended(frame, column, 2 * q * turn + i)
    new = frame.shape[1] - width
    inside = linalg.matmul(frame.T, jnp.concatenate([slope, state.weights], 1))
    cross = linalg.matmul(inside[:, :q], inside[:, q:].T)
    block = jnp.diag(jnp.pad(state.values - state.rest, (0, new))) - rate / 2 * (cross + cross.T)
    values, vectors = jnp.linalg.eigh(block)
    values, rest = fantope(values + state.rest, k, rest=state.rest, times=len(frame) - len(values))
    away = jnp.abs(values - rest)  # values rise, so that those nearest the rest stand side by side
    widest = jnp.maximum(away[: width + 1], away[new - 1 :]) if new else jnp.zeros(1, x.dtype)
    first = widest.argmin()
    before = jnp.arange(width) < first
    return State(
        linalg.matmul(frame, jnp.where(before[None], vectors[:, :width], vectors[:, new:])),
        jnp.where(before, values[:width], values[new:]), rest, state.weights, state.bias,
        jnp.maximum(state.dropped, widest[first]),
    )


def _extended(frame, column, turn):
    """Orthonormal `frame` (p, m) and one direction more, m < p: what `column` (p,) adds, or any if that is nothing."""
    p = len(frame)
    other = jnp.cos(jnp.arange(1, p + 1, dtype=frame.dtype) * (0.618 * turn + 1) % (2 * jnp.pi))
    size, eps = linalg.safe_sqrt(jnp.sum(column**2)), jnp.finfo(frame.dtype).eps
    new = column / jnp.where(size > 0, size, 1)
    for again in range(3):
        new = new - linalg.matmul(frame, linalg.matmul(frame.T, new))
        left = linalg.safe_sqrt(jnp.sum(new**2))
        if again == 0:
            new = jnp.where(left > 100 * eps, new / jnp.where(left > 0, left, 1), other * (2 / p) ** 0.5)
    return jnp.concatenate([frame, (new / left)[:, None]], 1)


def _squared_up(state):
    """The basis orthonormal again, after a round of steps has let it drift by rounding."""
    basis = state.basis
    basis = 1.5 * basis - 0.5 * linalg.matmul(basis, linalg.matmul(basis.T, basis))
    return State(basis, state.values, state.rest, state.weights, state.bias, state.dropped)


def _descended(state, x, z, rate):
    errors = _errors(state, x, z)
    return State(
        state.basis, state.values, state.rest, state.weights - rate * _erased(state, linalg.matmul(x.T, errors)),
        state.bias - rate * errors.sum(0), state.dropped,
    )


@partial(jax.jit, static_argnames=("c", "most", "start", "every", "batch", "width"))
def _games(keys, x, y, ranks, *, rate, tolerance, steps, c, most, start, every, batch, width):
    """A Game of (len(ranks), len(keys)) runs. One loop for all, so that rows are drawn once a key, shared by ranks."""
    n, p = x.shape
    mean = x.mean(0)
    x = linalg.center(x)
    scale = linalg.safe_sqrt((x**2).mean())
    x = x / jnp.where(scale > 0, scale, 1)
    varies = jnp.any(x != 0, 0)
    white, lower = whitened(x, linalg.matmul(x.T, x) / n, _L2)
    z = jax.nn.one_hot(y, c, dtype=x.dtype)
    shares = z.mean(0)
    entropy = -jnp.sum(jnp.where(shares > 0, shares * jnp.log(jnp.where(shares > 0, shares, 1)), 0))
    zero = jnp.zeros((), x.dtype)

    def begun(key, k):
        at_p, at_w, _ = jax.random.split(key, 3)
        # No step takes a constant column out of a direction that has it.
        drawn = jax.random.normal(at_p, (p, width), x.dtype) * varies[:, None]
        spread = min(width, most + 2)  # a few directions, so that those to come find room beside them
        values = jnp.where(jnp.arange(width) < spread, k / spread, 0).astype(x.dtype)
        if start == "closed":
            drawn = jnp.concatenate([mean_directions(x, z), drawn], 1)[:, :width]
            values = jnp.where(jnp.arange(width) < k, 1, 0).astype(x.dtype)
        weights = jax.random.uniform(at_w, (p, c - 1), x.dtype, -1, 1) / p**0.5
        return State(jnp.linalg.qr(drawn)[0], values, zero, weights, jnp.zeros(c - 1, x.dtype), zero)

    def judged(state, k):
        _, leading = lax.top_k(state.values, most)
        removed = state.basis[:, leading] * (jnp.arange(most) < k)[None] * varies[:, None]
        seen = jax.scipy.linalg.solve_triangular(lower, removed, lower=True)
        closed = jnp.linalg.qr(seen)[0] * (jnp.arange(most) < k)[None]
        v, bias, _, _ = fit_white(white, lower, z, _L2, 1e-4, closed)
        scores = linalg.matmul(white, v) + bias[None]
        return removed, entropy + jnp.mean(jnp.sum(z * jax.nn.log_softmax(scores, 1), 1))

    def every_run(f, *of):  # of keys, of ranks, or of both
        inner = jax.vmap(f, [{"key": None}.get(kind, 0) for kind in of])
        return jax.vmap(inner, [{"rank": None}.get(kind, 0) for kind in of])

    def every_judged(state):  # one after another: together, all would wait for the slowest
        flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), state), jnp.tile(ranks, len(keys))
        return jax.tree.map(lambda a: a.reshape(len(keys), -1, *a.shape[1:]), lax.map(lambda of: judged(*of), flat))

    def more(carry):
        _, _, gap, _, turn = carry
        return (gap > tolerance).any() & (turn * every < steps)

    def chunk(carry):
        state, best, gap, played, turn = carry
        rows = jax.vmap(lambda key: jax.random.randint(
            jax.random.fold_in(jax.random.split(key, 3)[2], turn * every), (every, 2, batch), 0, n
        ))(keys)
        going = gap > tolerance
        new = every_run(lambda s, r, k: play(s, x, z[:, 1:], r, k, rate), "both", "key", "rank")(state, rows, ranks)
        state = jax.tree.map(lambda a, b: jnp.where(going.reshape(going.shape + (1,) * (a.ndim - 2)), a, b), new, state)
        removed, found = every_judged(state)
        better = going & ~(found >= gap)
        best = jnp.where(better[..., None, None], removed, best)
        return state, best, jnp.where(better, found, gap), played + going * every, turn + 1

    state = every_run(begun, "key", "rank")(keys, ranks)
    if start == "closed":
        best, gap = every_judged(state)
    else:  # nothing to judge yet, and to judge in one place is to compile it once
        runs = len(keys), len(ranks)
        best, gap = jnp.zeros((*runs, p, most), x.dtype), jnp.full(runs, jnp.inf, x.dtype)
    state, best, gap, played, _ = lax.while_loop(more, chunk, (state, best, gap, jnp.zeros(gap.shape, int), 0))
    finite = jnp.isfinite(state.values).all(-1) & jnp.isfinite(state.weights).all((-2, -1))
    game = Game(
        jax.vmap(jax.vmap(lambda left: about(mean, left, left.T)))(best), jnp.where(finite, gap, jnp.nan), played,
        state.dropped,
    )
    return jax.tree.map(lambda a: a.swapaxes(0, 1), game)
