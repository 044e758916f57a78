"""Convolution and token activations as matrices: what counts as a sample and what as a feature, said by name.

Activations come as (n, h, w, c), maps of c channels, or (n, t, c), sequences of c features. Every measure takes
matrices, and its value depends on how one is made from the other, so no view is chosen for you:

`flatten`  (n, h w c)  every unit at every position is a feature. Layers of any two shapes can be compared.
`pool`     (n, c)      a channel's mean over positions is a feature. What is where no longer counts.
`channels` (n h w, c)  every position is a sample. Same layer and same input on both sides, position by position.
`dft`      blocks      the features of `flatten` in the Fourier basis, apart by frequency: many small problems.
"""

from itertools import product

import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks

_SHAPES = "(n, h, w, c) or (n, t, c)"


def flatten(a: Array) -> Array:
    """Matrix (n, h w c) of maps `a` (n, h, w, c), or (n, t c) of sequences (n, t, c): each unit a feature.

    For layers of different depth, width or map size: their positions have no common meaning, the n inputs have.
    With n <= h w c features span everything and the canonical measures are 1: use `cka`, more inputs, or `dft`.
    Source: Raghu et al. 2017, sec. 3 (different layers); Kornblith et al. 2019 flatten all their convolutions.
    Raises TypeError unless numbers are real, ValueError for another number of axes, an empty axis, NaN or infinity.

    >>> flatten(jnp.ones((5, 2, 3, 4))).shape, flatten(jnp.ones((5, 6, 4))).shape
    ((5, 24), (5, 24))
    """
    a = _maps(a)
    return a.reshape(len(a), -1)


def pool(a: Array) -> Array:
    """Matrix (n, c) of maps `a` (n, h, w, c) or sequences (n, t, c): the mean of each channel over all positions.

    Small, so that n exceeds the number of features; blind to where a channel is active, and a rotation of positions
    changes nothing. Padding tokens count as much as others: leave them out first. Errors as `flatten`.
    Source: Huh et al. 2024 for the tokens of language models; for maps, a habit rather than a paper.

    >>> pool(jnp.arange(12.0).reshape(2, 3, 2)).tolist()
    [[2.0, 3.0], [8.0, 9.0]]
    """
    a = _maps(a)
    return a.mean(tuple(range(1, a.ndim - 1)))


def channels(a: Array) -> Array:
    """Matrix (n h w, c) of maps `a` (n, h, w, c), or (n t, c) of sequences: each position of each input a sample.

    Row i h w + j w + k is position (j, k) of input i. For one layer of two networks, or of one at two moments, fed
    with the same inputs: there the positions correspond. For layers of different map size they do not: the numbers
    of rows differ, and where they agree by chance rows are paired without meaning; `flatten` or `pool` these.
    Positions of one input are not independent samples: intervals and permutation tests that draw rows are too
    sure of themselves, so draw inputs before calling this. Errors as `flatten`.
    Source: Raghu et al. 2017, sec. 3 (same layer).

    >>> channels(jnp.ones((5, 2, 3, 4))).shape
    (30, 4)
    """
    a = _maps(a)
    return a.reshape(-1, a.shape[-1])


def dft(a: Array) -> dict[tuple[int, ...], Array]:
    """Matrices of maps `a` (n, h, w, c) by frequency (u, v), or of sequences (n, t, c) by (u,): Fourier blocks.

    The unitary DFT of every channel over positions (Raghu et al. 2017, sec. 3.1), in real numbers: frequency (u, v)
    and its mirror image (-u, -v) carry conjugate values, so the pair is kept once, under the smaller of the two, as
    a matrix (n, 2 c) of real then imaginary parts times sqrt 2; (0, 0) and others that mirror themselves are
    (n, c). All blocks side by side are `flatten(a)` in rotated coordinates: the same Gram matrix, so the same CKA.

    If the inputs are closed under circular shifts, and all layers below are circular convolutions, pooling or
    pointwise, blocks of different frequency are uncorrelated. CCA of the whole is then CCA block by block, exactly:
    h w problems of width c for one of h w c. The real pair of a frequency has the c canonical correlations of the
    complex channels, each twice. On other data covariances between frequencies are left out, which is an
    approximation; and complex CCA would leave out one more, between a channel and its own conjugate, that the real
    form keeps. Both sides need the same h and w. A cut such as SVCCA's is made in each block, not over all.

    Average over all correlations with the block widths for weights:

    >>> import jax
    >>> from repgeo.similarity import mean_cca
    >>> a = jax.random.normal(jax.random.key(0), (60, 4, 4, 3))
    >>> blocks, others = dft(a), dft(jnp.roll(a, 1, axis=1) @ jnp.ones((3, 3)) + 2 * a)
    >>> widths = [x.shape[1] for x in blocks.values()]
    >>> sum(widths) == 4 * 4 * 3, len(widths)
    (True, 10)
    >>> rhos = [mean_cca(x, others[frequency]) for frequency, x in blocks.items()]
    >>> print(f"{np.average(rhos, weights=widths):.3f}")
    1.000

    O(n h w c log(h w)). Errors as `flatten`.
    """
    a = _maps(a)
    sizes = a.shape[1:-1]
    spectrum = jnp.fft.fftn(a, axes=tuple(range(1, a.ndim - 1)), norm="ortho")
    blocks = {}
    for frequency in product(*map(range, sizes)):
        mirror = tuple(-u % size for u, size in zip(frequency, sizes, strict=True))
        z = spectrum[(slice(None), *frequency)]
        if frequency == mirror:
            blocks[frequency] = z.real
        elif frequency < mirror:
            blocks[frequency] = jnp.concatenate([z.real, z.imag], 1) * np.sqrt(2).astype(a.dtype)
    return blocks


def _maps(a) -> Array:
    a = checks.floats(a, "a")
    if a.ndim not in (3, 4) or 0 in a.shape:
        raise ValueError(f"a: expected activations {_SHAPES}, no axis empty; got shape {a.shape}")
    if checks.is_concrete(a) and not bool(jnp.isfinite(a).all()):
        bad = np.argwhere(~np.isfinite(np.asarray(a)))
        first = tuple(map(int, bad[0]))
        raise ValueError(f"a: expected finite values; got {len(bad)} NaN or inf, the first at {first}")
    return a
