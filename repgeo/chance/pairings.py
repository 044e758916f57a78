"""A measure on many choices of rows: the engine under the nulls and the intervals."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg

Measure = Callable[..., Array]


def scores(measure: Measure, xs: list[Array], ys: list[Array], rows: Array, *, both: bool, batch: int,
           options: dict) -> Array:
    """The measure on every x and y[rows[i]], or x[rows[i]] and y[rows[i]] with `both`: (len(rows), l1, l2).

    Layers of one shape share one compiled program, which runs `batch` choices of rows at a time.
    """
    batch = checks.count(batch, "batch", low=1, high=1_000_000)
    measure, options = plain(measure, options)
    if not recorded(measure, "traceable", True):
        taken = linalg.taken
        values = [[[float(one_number(measure(taken(x, r) if both else x, taken(y, r), **options))) for y in ys]
                   for x in xs] for r in np.asarray(rows)]
        return jnp.asarray(values)
    static = _static(options)
    permuted = None if both else getattr(measure, "permuted", None)
    if permuted:
        # Its door looks at the options, at no cost: nothing is computed.
        expected = _whole.eval_shape(xs[0], ys[0], measure=measure, options=static)
        return permuted(xs, ys, rows, **options).astype(expected.dtype)
    batches = -(-len(rows) // batch)
    batch = -(-len(rows) // batches)  # evened out, so that the fewest rows are added to fill the last batch
    (xs, back_x), (ys, back_y) = _by_width(xs), _by_width(ys)
    blocks = [[_mapped(x, y, rows, measure=measure, options=static, both=both, batch=batch) for y in ys] for x in xs]
    return _in_place(blocks, back_x, back_y)


def whole(measure: Measure, x: Array, y: Array, options: dict) -> Array:
    """The measure on all rows, which must be one finite number."""
    value = one_number(measure(x, y, **options))
    value = jnp.asarray(value if recorded(measure, "traceable", True) else float(value))
    return checks.defined(value, "the measure is not finite on these rows")


@partial(jax.jit, static_argnames=("rounds", "n"))
def shuffles(key: Array, *, rounds: int, n: int) -> Array:
    """range(n), then `rounds` shuffles of it: (rounds + 1, n)."""
    shuffled = jax.vmap(lambda k: jax.random.permutation(k, n))(jax.random.split(key, rounds + 1))
    return shuffled.at[0].set(jnp.arange(n))


def one_number(value: Any) -> Any:
    """`value`, unless it is an array with axes."""
    if getattr(value, "shape", ()) != ():
        raise ValueError(f"measure: expected one number for a pair, got shape {value.shape}: wrap it, say in a mean")
    return value


def plain(measure: Measure, options: dict) -> tuple[Measure, dict]:
    """A partial's function and all its options: equal partials then share one compiled program."""
    while isinstance(measure, partial) and not measure.args:
        measure, options = measure.func, measure.keywords | options
    return measure, options


def bare(measure: Measure) -> Measure:
    """The function under partials of whatever kind."""
    while isinstance(measure, partial):
        measure = measure.func
    return measure


def recorded(measure: Measure, field: str, otherwise: Any) -> Any:
    """What the measure's record says under `field`."""
    return getattr(getattr(bare(measure), "record", None), field, otherwise)


@partial(jax.jit, static_argnames=("measure", "options"))
def _whole(x: Array, y: Array, *, measure: Measure, options: tuple) -> Array:
    return one_number(measure(x, y, **dict(options)))


@partial(jax.jit, static_argnames=("measure", "options", "both", "batch"))
def _mapped(
    xs: list[Array], ys: list[Array], rows: Array, *, measure: Measure, options: tuple, both: bool, batch: int
) -> Array:
    """Scores (a, b, r) of a layers (n, p) and b layers (n, q) on rows (r, n)."""
    batches = -(-len(rows) // batch)
    filled = jnp.concatenate([rows, jnp.broadcast_to(rows[:1], (batches * batch - len(rows), rows.shape[1]))])
    filled = filled.reshape(batches, batch, -1)

    def pair(x, y):
        def one(r):
            return one_number(measure(x[r] if both else x, y[r], **dict(options)))

        return jax.lax.map(jax.vmap(one), filled).reshape(-1)[: len(rows)]

    ys = jnp.stack(ys)
    return jax.lax.map(lambda x: jax.lax.map(lambda y: pair(x, y), ys), jnp.stack(xs))


def _by_width(layers: list[Array]) -> tuple[list[list[Array]], np.ndarray]:
    """The layers of each width, and the places of the layers in all of these taken together."""
    widths = [z.shape[1] for z in layers]
    order = np.argsort(widths, kind="stable")
    alike = [[layers[i] for i in order if widths[i] == width] for width in sorted(set(widths))]
    return alike, np.argsort(order)


@jax.jit
def _in_place(blocks: list[list[Array]], back_x: np.ndarray, back_y: np.ndarray) -> Array:
    """Scores (a, b, r) by widths, as (r, l1, l2) in the order of the layers."""
    values = jnp.concatenate([jnp.concatenate(block, 1) for block in blocks], 0)
    return jnp.moveaxis(values[back_x][:, back_y], -1, 0)


def _static(options: dict) -> tuple:
    try:
        hash(pairs := tuple(sorted(options.items())))
    except TypeError:
        raise TypeError(f"options: expected plain numbers and words for the measure, got {options}") from None
    return pairs
