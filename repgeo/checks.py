"""The door: what a public function accepts, and the one error it raises otherwise.

Shapes and dtypes are static, so they are checked under `jit` too and cost nothing there. Values (NaN, inf, no
variance) can only be checked on concrete arrays; under a trace a measure that is undefined returns NaN instead.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def is_concrete(x) -> bool:
    """Whether `x` holds numbers now, rather than standing for numbers to come under `jit`, `vmap` or `grad`."""
    return not isinstance(x, jax.core.Tracer)


def matrix(x, name: str = "x", *, at_least: int = 2, may_be_constant: bool = False, values: bool = True) -> Array:
    """`x` as a floating matrix (n samples, p features), or an error that names the argument.

    Integers and booleans become JAX's default float, half precision becomes float32; float64 is kept only where
    JAX's 64-bit mode is on. Raises TypeError for a dtype that is not numeric and real; ValueError for another
    number of axes, fewer than `at_least` rows, no column, a NaN or an infinity, or (unless `may_be_constant`)
    rows that are all the same. With `values=False` only shape and dtype are looked at.

    >>> matrix([[1, 2], [3, 4]]).dtype
    dtype('float32')
    """
    a = floats(x, name)
    if a.ndim != 2:
        raise ValueError(f"{name}: expected a matrix (n samples, p features); got shape {a.shape}")
    n, p = a.shape
    if n < at_least or p < 1:
        raise ValueError(f"{name}: expected at least {at_least} samples (rows) and 1 feature; got shape {a.shape}")
    if values and is_concrete(a):
        finite, varies = _values(a)
        if not finite:
            raise ValueError(f"{name}: expected finite values; got {_first_bad(a)}")
        if not (varies or may_be_constant):
            raise ValueError(f"{name}: expected rows that differ; got {n} identical rows, so nothing to compare")
    return a


def paired(
    x, y, *, at_least: int = 2, may_be_constant: bool = False, values: bool = True, names: tuple[str, str] = ("x", "y")
) -> tuple[Array, Array]:
    """Two matrices whose row i is the same sample, in one common dtype; errors as in `matrix`.

    Raises ValueError, naming both shapes, when the numbers of rows differ.
    """
    x = matrix(x, names[0], at_least=at_least, may_be_constant=may_be_constant, values=values)
    y = matrix(y, names[1], at_least=at_least, may_be_constant=may_be_constant, values=values)
    if len(x) != len(y):
        both = " and ".join(names)
        raise ValueError(f"{both}: expected one row per sample in both; got shapes {x.shape} and {y.shape}")
    dtype = jnp.promote_types(x.dtype, y.dtype)
    return x.astype(dtype), y.astype(dtype)


def floats(x, name: str = "x") -> Array:
    """`x` as a real floating JAX array of at least single precision; TypeError when it is not numeric."""
    if isinstance(x, jax.Array) and x.dtype == np.float32 and not x.weak_type:
        return x  # what follows would return it too, later: a mini-batch of many layers waits for it as often
    if not isinstance(x, jax.Array):
        try:
            x = np.asarray(x)
        except ValueError as ragged:
            raise ValueError(f"{name}: expected rows of equal length; got {ragged}") from None
        x = x.astype(x.dtype.newbyteorder("="), copy=False)  # JAX knows no other byte order
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == bool):
        raise TypeError(f"{name}: expected real numbers; got dtype {x.dtype}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        dtype = jnp.result_type(float)
    else:
        dtype = jnp.promote_types(x.dtype, jnp.float32)
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    if isinstance(x, np.ndarray):
        with np.errstate(over="ignore"):  # what overflows is reported as an infinity, with its place
            x = x.astype(dtype, copy=False)
    if not is_concrete(x):
        return jnp.asarray(x, dtype)
    with jax.ensure_compile_time_eval():  # an array that a traced function closes over keeps its values, to be checked
        return jnp.asarray(x, dtype)


def count(value, name: str, *, low: int, high: int, why: str = "") -> int:
    """An integer in [low, high]; TypeError for anything that is not an integer, ValueError outside the range.

    >>> count(10, "k", low=1, high=99)
    10
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected an integer; got {type(value).__name__} {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low} <= {name} <= {high}{why and f' ({why})'}; got {value}")
    return int(value)


def real(value, name: str, *, low: float, high: float = float("inf"), open_low: bool = False):
    """A finite number in [low, high], or in (low, high] with `open_low`; a traced value passes unchecked.

    >>> real(0.99, "threshold", low=0, high=1, open_low=True)
    0.99
    """
    if not is_concrete(value):
        return value
    kind = np.asarray(value).dtype.kind if np.ndim(value) == 0 else None
    if kind is None or kind not in "fiub" and not jnp.issubdtype(np.asarray(value).dtype, jnp.floating):
        raise TypeError(f"{name}: expected a number; got {type(value).__name__} {value!r}")
    number = float(value)
    if not np.isfinite(number) or number > high or number < low or (open_low and number == low):
        left = "(" if open_low else "["
        raise ValueError(f"{name}: expected a finite number in {left}{low}, {high}]; got {value}")
    return number


def choice(value, name: str, options: tuple[str, ...]) -> str:
    """One of the named options, or a ValueError that lists them."""
    if value not in options:
        raise ValueError(f"{name}: expected one of {', '.join(options)}; got {value!r}")
    return value


def defined(value: Array, why: str) -> Array:
    """`value` unless it is concrete and not finite: then a ValueError that says `why` it is undefined."""
    if is_concrete(value) and not np.all(np.isfinite(value)):
        raise ValueError(f"undefined for these inputs: {why}")
    return value


def _values(a: Array) -> tuple[bool, bool]:
    """Whether all entries are finite, and whether rows differ.

    NumPy looks at what lies in this machine's memory: it takes a third of XLA's time and compiles nothing for a shape.
    """
    if len(a.devices()) > 1 or next(iter(a.devices())).platform != "cpu":
        with jax.ensure_compile_time_eval():
            finite, varies = _values_there(a)
        return bool(finite), bool(varies)
    a = np.asarray(a)
    finite = bool(np.isfinite(a.max()) and np.isfinite(a.min()))  # NumPy's extremes of a NaN are NaN
    return finite, len(a) > 1 and bool((a[0] != a[1]).any() or (a[2:] != a[0]).any())


@jax.jit
def _values_there(a: Array) -> tuple[Array, Array]:
    # Minimum and maximum of a large array lose a NaN in XLA; 0 times every entry sums to 0 unless one is not finite.
    return (a * 0).sum() == 0, (a.max(0) > a.min(0)).any()


def _first_bad(a: Array) -> str:
    bad = np.argwhere(~np.isfinite(np.asarray(a)))
    row, column = bad[0]
    return f"{len(bad)} NaN or inf (as {a.dtype}), the first at row {row}, column {column}"
