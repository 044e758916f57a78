"""What a stream must keep for debiased linear CKA: moments up to the fourth order, in O(p^2 + q^2) memory.

Debiasing subtracts the diagonal of both Gram matrices, that is sums of products of squared row norms. Around the mean
of all rows, which is not known until the end, those are fourth moments: every batch keeps them about its own mean, and
adding two batches moves both to the common mean by exact formulas, so that no order of additions is special. The
subtraction cancels most of a sum that one outlying row may dominate. In float32 that costs most digits, so every
sum is carried as two floats: its rounded value and what rounding left out.
"""

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from repgeo import checks, linalg
from repgeo.moments import Moments, exact_sum

_BLOCK_ROWS = 512  # of a batch at a time: bounds the temporaries
_FEW_ROWS = 64  # shorter batches are padded to this many rows, others below a block to a power of two: few compilations


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TwoFloat:
    """Numbers as head + rest, the head rounded and the rest what rounding left out; a pytree, any shape.

    Sums keep about twice the digits of the dtype, products one and a half times as many.
    """

    head: Array
    rest: Array

    def __add__(self, other: "TwoFloat") -> "TwoFloat":
        """Elementwise sum."""
        total, left = exact_sum(self.head, other.head)
        return TwoFloat(*exact_sum(total, left + (self.rest + other.rest)))

    def __mul__(self, other: "TwoFloat") -> "TwoFloat":
        """Elementwise product: the leading halves of both heads multiply without rounding."""
        (a, a_low), (b, b_low) = _halves(self.head), _halves(other.head)
        rest = (a * b_low + a_low * (b + b_low)) + (self.head * other.rest + self.rest * other.head)
        return TwoFloat(*exact_sum(a * b, rest))

    def times(self, power: Array | int) -> "TwoFloat":
        """Multiplied by a power of two (or its negative), which rounds nothing."""
        return TwoFloat(power * self.head, power * self.rest)

    def __getitem__(self, index) -> "TwoFloat":
        """The same entries of head and rest."""
        return TwoFloat(self.head[index], self.rest[index])

    def sum(self, axis: int) -> "TwoFloat":
        """Sum over one axis, entry after entry: a tree of sums takes XLA minutes to compile."""
        terms = jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), self)
        start = jax.tree.map(lambda a: jnp.zeros_like(a[0]), terms)
        return lax.scan(lambda total, term: (total + term, None), start, terms)[0]

    def rounded(self) -> Array:
        """The nearest plain float."""
        return self.head + self.rest


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DebiasedMoments:
    """Sums over n paired rows about their mean, from which debiased CKA is exact; batches add up with `+`.

    A row z = [x, y] has `p` features of x, then q of y, centred and in units of `scale` (2,): a power of two for x and
    one for y (0 as long as all rows are equal), so that fourth powers neither overflow nor underflow. With the squared
    norms c = [|x|^2, |y|^2] of each row, `zz` (p + q, p + q) sums z z^T, `cz` (2, p + q) sums c z^T and `cc` (2, 2)
    sums c c^T. `mean` (p + q,) is in the units of the features. The last four are `TwoFloat`; `second` is the part
    that `Moments` holds.
    """

    n: Array
    scale: Array
    mean: TwoFloat
    zz: TwoFloat
    cz: TwoFloat
    cc: TwoFloat
    p: int = field(metadata={"static": True})

    def __add__(self, other: "DebiasedMoments") -> "DebiasedMoments":
        """Sums of both samples together: each is moved to the common mean, whose place follows from the counts."""
        mine, theirs = ((m.p, m.cz.head.shape[-1] - m.p) for m in (self, other))
        if mine != theirs:
            raise ValueError(f"debiased moments: expected batches of equal widths; got {mine} and {theirs}")
        return _merge(self, other)

    @property
    def second(self) -> Moments:
        """The moments up to the second order: what `cka_from`, `cca_from` and the others read."""
        p, s, t = self.p, self.scale[0], self.scale[1]
        mean, rest, zz = self.mean.head, self.mean.rest, self.zz.rounded()
        parts = s * s * zz[:p, :p], s * t * zz[:p, p:], t * t * zz[p:, p:]
        return Moments(self.n, mean[:p], mean[p:], rest[:p], rest[p:], *parts)


def debiased_moments(x: Array, y: Array) -> DebiasedMoments:
    """Sums of one batch x (n, p), y (n, q) for debiased linear CKA; add them up over batches with `+`.

    O(n (p + q)^2) time, O((p + q)^2) memory besides the batch. One row is a legal batch; compiled once for all up to
    64 rows, once for each power of two up to 512, then once per number of rows. Raises as `checks.paired`.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(12.0).reshape(6, 2)
    >>> total = debiased_moments(x[:1], x[:1]) + debiased_moments(x[1:], x[1:])
    >>> float(total.n), total.mean.head.tolist()
    (6.0, [5.0, 6.0, 5.0, 6.0])
    """
    x, y = checks.paired(x, y, at_least=1, may_be_constant=True)
    n = len(x)
    more = max(0, min(max(1 << (n - 1).bit_length(), _FEW_ROWS), _BLOCK_ROWS) - n)
    x, y = (jnp.pad(a, ((0, more), (0, 0)), mode="edge") if more else a for a in (x, y))
    return _sums(x, y, n)


def unbiased_products(m: DebiasedMoments) -> tuple[Array, Array, Array]:
    """Unbiased HSIC times n (n - 3) of (x, x), (x, y) and (y, y), in units of the scales of m.

    Song et al. 2012, eq. 5, in features: ||xy||^2 - n / (n - 2) ab + |x|^2 |y|^2 / ((n - 1) (n - 2)). A traced `m`
    passes unchecked. Raises TypeError for anything but `DebiasedMoments`; ValueError for a batch of them, for n < 4,
    for sums that are not finite, and where all rows of a side are equal.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [1.0], [0.0], [1.0]])
    >>> m = debiased_moments(x, x)
    >>> m.scale.tolist(), [round(float(value * m.scale[0] ** 4), 4) for value in unbiased_products(m)]
    ([0.5, 0.5], [0.6667, 0.6667, 0.6667])
    """
    if not isinstance(m, DebiasedMoments):
        raise TypeError(f"m: expected DebiasedMoments, as `debiased_moments(x, y)` returns; got {type(m).__name__}")
    if m.zz.head.ndim != 2:
        raise ValueError(f"m: expected the sums of one sample; got a batch, with zz of shape {m.zz.head.shape}")
    if all(map(checks.is_concrete, jax.tree.leaves(m))):
        if m.n < 4:
            raise ValueError(f"m: expected at least 4 samples (rows) altogether; got n = {m.n:.0f}")
        for name in ("mean", "zz", "cz", "cc"):
            if not np.isfinite(np.asarray(getattr(m, name).rounded())).all():
                raise ValueError(f"m: expected finite sums; got NaN or inf in m.{name}")
        for side, scale in zip("xy", m.scale, strict=True):
            if not scale > 0:
                raise ValueError(f"m: expected rows that differ; got no spread in {side} over n = {m.n:.0f} rows")
    return _unbiased(m)


@jax.jit
def _unbiased(m):
    squares = m.zz * m.zz
    columns = [squares[: m.p].sum(0), squares[m.p :].sum(0)]
    whole = _by_side(jax.tree.map(lambda *a: jnp.stack(a), *columns), m.p).sum(-1)
    t = _traces(m)
    small = _ratio(jnp.full_like(m.n, 2), m.n - 2) * m.cc  # n / (n - 2) is 1 and this: the 1 rounds nothing
    last = _ratio(jnp.ones_like(m.n), (m.n - 1) * (m.n - 2)) * (t[:, None] * t[None])
    values = (whole + m.cc.times(-1) + small.times(-1) + last).rounded()
    noise = 16 * jnp.finfo(values.dtype).eps * m.cc.head  # a self-term below is 0: all rows but one are equal
    xx, yy = (jnp.where(values[i, i] > noise[i, i], values[i, i], 0) for i in (0, 1))
    return xx, values[0, 1], yy


@jax.jit
def _sums(x, y, n):
    size = min(len(x), _BLOCK_ROWS)
    blocks = -(-len(x) // size)

    def block(i):
        start = jnp.minimum(i * size, len(x) - size)  # the last block starts early and leaves out what it saw before
        row = start + jnp.arange(size)
        return _block(*(lax.dynamic_slice_in_dim(a, start, size) for a in (x, y)), (row >= i * size) & (row < n))

    if blocks == 1:
        return block(0)
    return lax.scan(lambda m, i: (_merge(m, block(i)), None), block(0), jnp.arange(1, blocks))[0]


def _block(x, y, keep):
    """Sums of the rows where `keep` is true, about their own mean.

    Centred three times: the first row takes a common offset away, and the mean of what is left errs by a rounding
    of the largest row, which the fourth moments would feel.
    """
    p, n = x.shape[1], keep.sum().astype(x.dtype)
    keep, z = keep[:, None], jnp.concatenate([x, y], 1)
    mean = _exact(z[0])
    z = jnp.where(keep, z - z[:1], 0)
    for _ in range(2):
        left = z.sum(0, keepdims=True) / n
        z = jnp.where(keep, z - left, 0)
        mean = mean + _exact(left[0])
    scale = _sizes(z, p)
    z = z / _per_feature(jnp.where(scale > 0, scale, 1), z, p)[None]
    zz, z = _exact(linalg.matmul(z.T, z)), _exact(z)
    c = _by_side(z * z, p).sum(-1)
    both = jax.tree.map(lambda z, c: jnp.concatenate([z, c], 1)[:, None], z, c)
    sums = (c[:, :, None] * both).sum(0)
    return DebiasedMoments(n, scale, mean, zz, sums[:, :-2], sums[:, -2:], p)


@jax.jit
def _merge(a, b):
    p, n = a.p, a.n + b.n
    gap = b.mean + a.mean.times(-1)
    step = _ratio(b.n, n) * gap
    rest = gap + step.times(-1)
    scale = jnp.maximum(jnp.maximum(a.scale, b.scale), _sizes(gap.head, p))
    unit = 1 / _per_feature(jnp.where(scale > 0, scale, 1), gap.head, p)
    a, b = _moved(_in_units(a, scale), step.times(-unit)), _moved(_in_units(b, scale), rest.times(unit))
    return DebiasedMoments(n, scale, a.mean + step, a.zz + b.zz, a.cz + b.cz, a.cc + b.cc, p)


def _moved(m, f):
    """The sums of rows z + f: expand c + 2 f.z + |f|^2 side by side, and use that the rows z sum to zero."""
    sides, n = _by_side(f, m.p), _exact(m.n)
    h, t = (f[None] * sides).sum(-1), _traces(m)
    fz = _exact(linalg.matmul(sides.head, m.zz.head))  # plain: its roundings are many and average out below
    g = ((m.cz + fz)[:, None] * sides[None]).sum(-1).times(2) + t[:, None] * h[None]
    return replace(
        m,
        zz=m.zz + n * (f[:, None] * f[None]),
        cz=m.cz + fz.times(2) + (t + n * h)[:, None] * f[None],
        cc=m.cc + g + jax.tree.map(jnp.transpose, g) + n * (h[:, None] * h[None]),
    )


def _in_units(m, scale):
    """The same sums with rows counted in larger units."""
    r = m.scale / jnp.where(scale > 0, scale, 1)
    u = _per_feature(r, m.mean.head, m.p)
    r = (r * r)[:, None]
    return replace(m, zz=m.zz.times(u[:, None] * u[None]), cz=m.cz.times(r * u[None]), cc=m.cc.times(r * r.T))


def _sizes(z, p):
    """The powers of two at or below the largest entries of x and of y, 0 where all are 0."""
    sides = z[..., :p], z[..., p:]
    return jnp.stack([jnp.where(jnp.any(side != 0), linalg.scale_of(side), 0) for side in sides])


def _per_feature(pair, z, p):
    return jnp.where(jnp.arange(z.shape[-1]) < p, pair[0], pair[1])


def _by_side(a, p):
    """(..., p + q) as (..., 2, p + q): the features of x, zero elsewhere, and those of y."""
    x = jnp.arange(a.head.shape[-1]) < p
    mine = jnp.stack([x, ~x]).reshape((1,) * (a.head.ndim - 1) + (2, -1))
    return jax.tree.map(lambda a: jnp.where(mine, a[..., None, :], 0), a)


def _traces(m):
    """Sums of |x|^2 and |y|^2 over the rows."""
    return _by_side(jax.tree.map(jnp.diagonal, m.zz), m.p).sum(-1)


def _exact(a):
    return TwoFloat(a, jnp.zeros_like(a))


def _halves(a):
    """A leading half of the bits and the rest; the rest alone carries the gradient."""
    info = jnp.finfo(a.dtype)
    high = lax.stop_gradient(lax.reduce_precision(a, info.nexp, (info.nmant - 1) // 2))
    return high, a - high


def _ratio(a, b):
    """The quotient with what the division leaves."""
    head = a / b
    return TwoFloat(*exact_sum(head, (_exact(a) + (_exact(head) * _exact(b)).times(-1)).rounded() / b))
