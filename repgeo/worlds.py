"""Planted problems: arrays whose answer is known before anything is measured."""
import jax
import jax.numpy as jnp
from jax import Array

from repgeo import checks, linalg


def independent(key: Array, n: int, p: int, q: int) -> tuple[Array, Array]:
    """Two matrices (n, p) and (n, q) of independent standard normals.

    Answer: every similarity of the populations is 0, and what a sample shows above 0 is bias: the biased
    linear CKA is about sqrt(p q / ((n + p) (n + q))) for n and widths that are not small, the largest
    canonical correlation is 1 once n <= p + 1 or n <= q + 1.

    >>> [a.shape for a in independent(jax.random.key(0), 10, 3, 4)]
    [(10, 3), (10, 4)]
    """
    n, p, q = _shape(n, p=p, q=q)
    for_x, for_y = jax.random.split(key)
    return jax.random.normal(for_x, (n, p)), jax.random.normal(for_y, (n, q))


def shared_latents(key: Array, n: int, p: int, q: int, *, shared: int, noise: float) -> tuple[Array, Array]:
    """Two views (n, p) and (n, q) of `shared` common latents, each with own noise, in rotated coordinates.

    A view is a latent plus `noise` times a standard normal in `shared` directions, and independent values of
    the same variance in the others, so both populations are white. Answer, for the populations: `shared`
    canonical correlations of 1 / (1 + noise^2) and else 0; linear CKA of
    shared / (sqrt(p q) (1 + noise^2)^2), which a debiased estimate meets without bias to order 1/n.
    Raises ValueError for shared outside [1, min(p, q)] or negative noise.

    >>> x, y = shared_latents(jax.random.key(0), 500, 3, 4, shared=2, noise=0.0)
    >>> jnp.linalg.matrix_rank(jnp.concatenate([x, y], 1)).item()  # 3 + 4 columns, 2 directions in common
    5
    """
    n, p, q = _shape(n, p=p, q=q)
    shared = checks.count(shared, "shared", low=1, high=min(p, q), why="the narrower view must hold them")
    noise = checks.real(noise, "noise", low=0)
    for_latent, *for_views = jax.random.split(key, 3)
    latent = jax.random.normal(for_latent, (n, shared))

    def view(k, width):
        own, rest, turn = jax.random.split(k, 3)
        seen = latent + noise * jax.random.normal(own, (n, shared))
        unseen = jnp.sqrt(1 + noise**2) * jax.random.normal(rest, (n, width - shared))
        return jnp.concatenate([seen, unseen], 1) @ _rotation(turn, width)

    return view(for_views[0], p), view(for_views[1], q)


def rotated_copy(key: Array, x: Array, *, scale: float = 1.0, shift: float = 0.0) -> Array:
    """`x` (n, p) in rotated coordinates, `scale` times as large, moved by a vector of length `shift`.

    Answer: the same representation to every measure that ignores rotation, isotropic scale and offset (CKA,
    Procrustes, shape distances, RSA, CCA); not to one that compares units. Raises ValueError for a scale that
    is not positive.

    >>> x = jnp.eye(4)
    >>> y = rotated_copy(jax.random.key(0), x, scale=2.0)
    >>> bool(jnp.allclose(y @ y.T, 4 * x @ x.T, atol=1e-5))
    True
    """
    x = checks.matrix(x, at_least=1, may_be_constant=True)
    scale = checks.real(scale, "scale", low=0, open_low=True)
    shift = checks.real(shift, "shift", low=0)
    turn, move = jax.random.split(key)
    return scale * x @ _rotation(turn, x.shape[1], x.dtype) + shift * _direction(move, x)


def affine_copy(key: Array, x: Array, *, condition: float = 10.0) -> Array:
    """`x` (n, p) under an invertible affine map of condition number `condition`, moved by a unit vector.

    The map's singular values fall evenly on a log scale from 1 to 1/condition. Answer: the same to measures
    that ignore every invertible affine map (CCA, linear predictivity; SVCCA only where it cuts no
    direction); not to CKA or Procrustes, unless condition is 1, where the map is a rotation. Raises
    ValueError for a condition below 1.

    >>> y = affine_copy(jax.random.key(0), jnp.eye(4, 3, k=-1), condition=5.0)
    >>> round(float(jnp.linalg.cond(y[1:] - y[:1])), 3)
    5.0
    """
    x = checks.matrix(x, at_least=1, may_be_constant=True)
    condition = checks.real(condition, "condition", low=1)
    before, after, move = jax.random.split(key, 3)
    p = x.shape[1]
    stretch = condition ** -jnp.linspace(0.0, 1.0, p, dtype=x.dtype)
    turned = x @ _rotation(before, p, x.dtype) * stretch[None]
    return turned @ _rotation(after, p, x.dtype) + _direction(move, x)


def permuted_units(key: Array, x: Array) -> tuple[Array, Array]:
    """`x` (n, p) with its columns shuffled, and the order (p,) that did it: `copy == x[:, order]`.

    Answer: unit i of the copy is unit order[i] of `x`, so a matching finds `order` with correlations of 1.

    >>> copy, order = permuted_units(jax.random.key(0), jnp.arange(6.0).reshape(2, 3))
    >>> bool((copy == jnp.arange(6.0).reshape(2, 3)[:, order]).all())
    True
    """
    x = checks.matrix(x, at_least=1, may_be_constant=True)
    order = jax.random.permutation(key, x.shape[1])
    return x[:, order], order


def clusters(key: Array, n: int, p: int, *, c: int, spread: float) -> tuple[Array, Array]:
    """Points (n, p) around `c` centres and their labels (n,): row i is of class i % c.

    Centres are sqrt(2) apart, all pairs alike; points lie round them with standard deviation `spread` in each
    feature. Answer: classes explain the share (1 - 1/c) / (1 - 1/c + p spread^2) of the total variance; the
    centred centres have rank c - 1. Raises ValueError for c outside [2, min(n, p)] or a negative spread.

    >>> x, labels = clusters(jax.random.key(0), 6, 4, c=3, spread=0.0)
    >>> labels.tolist(), round(float(jnp.linalg.norm(x[0] - x[1])), 3)
    ([0, 1, 2, 0, 1, 2], 1.414)
    """
    n, p = _shape(n, p=p)
    c = checks.count(c, "c", low=2, high=min(n, p), why="every class needs a row and a direction")
    spread = checks.real(spread, "spread", low=0)
    for_points, turn = jax.random.split(key)
    labels = jnp.arange(n) % c
    return _rotation(turn, p)[labels] + spread * jax.random.normal(for_points, (n, p)), labels


def low_rank(key: Array, n: int, p: int, *, k: int, noise: float = 0.0) -> Array:
    """Matrix (n, p) with `k` directions of sample variance exactly 1, plus noise in all p features.

    Answer without noise: rank k, the covariance (divided by n - 1) has eigenvalue 1 k times and 0 else,
    exactly and not only on average. With noise the population has k eigenvalues 1 + noise^2 and p - k of
    noise^2. Raises ValueError for k outside [1, min(n - 1, p)] or negative noise.

    >>> x = low_rank(jax.random.key(0), 20, 5, k=2)
    >>> [round(abs(v), 3) for v in jnp.linalg.eigvalsh(jnp.cov(x.T)).tolist()]
    [0.0, 0.0, 0.0, 1.0, 1.0]
    """
    n, p = _shape(n, p=p)
    k = checks.count(k, "k", low=1, high=min(n - 1, p), why="centring takes one direction")
    noise = checks.real(noise, "noise", low=0)
    for_scores, turn, for_noise = jax.random.split(key, 3)
    scores = jax.random.normal(for_scores, (n, k))
    scores = jnp.linalg.qr(scores - scores.mean(0, keepdims=True))[0] * jnp.sqrt(n - 1.0)
    return scores @ _rotation(turn, p)[:k] + noise * jax.random.normal(for_noise, (n, p))


def subset_shift(key: Array, x: Array, *, rows: int, distance: float,
                 keep: Array | None = None) -> tuple[Array, Array]:
    """`x` (n, p) with its first `rows` rows moved together by `distance`, and the unit direction (p,).

    The manipulation of Davari et al. 2022 (arXiv:2210.16156); rows=1 makes an outlier. The direction is
    random, orthogonal to the columns of `keep` (p, r), r < p. Answer: any linear readout by weights in the
    span of `keep` gives the same outputs for the copy as for `x`, so the function is unchanged; yet with m
    the mean of the centred moved rows, linear CKA between the two tends, as distance grows, to n rows / (n
    - rows) |m|^2 / |X^T X|_F, X centred, which does not depend on how far or where they moved.

    Raises ValueError for rows outside [1, n - 1], a negative distance, or `keep` of the wrong height or as
    wide as it is high.

    >>> x = jax.random.normal(jax.random.key(0), (5, 3))
    >>> y, direction = subset_shift(jax.random.key(1), x, rows=2, distance=3.0)
    >>> [round(float(d), 3) for d in jnp.linalg.norm(y - x, axis=1)]
    [3.0, 3.0, 0.0, 0.0, 0.0]
    """
    x = checks.matrix(x)
    n, p = x.shape
    rows = checks.count(rows, "rows", low=1, high=n - 1, why="moving all rows changes nothing")
    distance = checks.real(distance, "distance", low=0)
    direction = jax.random.normal(key, (p,), x.dtype)
    if keep is not None:
        keep = checks.matrix(keep, "keep", at_least=1, may_be_constant=True)
        if keep.shape[0] != p or keep.shape[1] >= p:
            raise ValueError(f"keep: expected {p} rows (features of x) and fewer columns; got {keep.shape}")
        basis = jnp.linalg.qr(keep.astype(x.dtype))[0]
        for _ in range(2):  # once leaves a rounding error that a long shift would show
            direction = direction - basis @ (basis.T @ direction)
    direction = direction / jnp.linalg.norm(direction)
    moved = (jnp.arange(n) < rows).astype(x.dtype)
    return x + distance * moved[:, None] * direction[None], direction


def ratings(key: Array, n: int, items: int, *, c: int, taste: float = 0.8,
            rate: float = 0.1) -> tuple[Array, Array, Array]:
    """Interactions (n users, items) of 0 and 1, the group of each user (n,) and of each item (items,).

    Users and items belong to `c` groups in turn (index % c). A user meets an item with probability `rate`
    times `taste` inside the own group and times 1 - taste outside. Answer: unless taste is 1/2, where there
    are no groups, the expected matrix has rank c, and the expected columns of two items are equal if and
    only if they are of one group. Raises ValueError for c outside [2, min(n, items)], taste outside [0, 1]
    or rate outside (0, 1].

    >>> x, users, kinds = ratings(jax.random.key(0), 200, 30, c=3)
    >>> own = users[:, None] == kinds[None]
    >>> bool(x[own].mean() > 2 * x[~own].mean())
    True
    """
    n, items = _shape(n, items=items)
    c = checks.count(c, "c", low=2, high=min(n, items), why="every group needs a user and an item")
    taste = checks.real(taste, "taste", low=0, high=1)
    rate = checks.real(rate, "rate", low=0, high=1, open_low=True)
    users, kinds = jnp.arange(n) % c, jnp.arange(items) % c
    chance = rate * jnp.where(users[:, None] == kinds[None], taste, 1 - taste)
    return jax.random.bernoulli(key, chance).astype(chance.dtype), users, kinds


def factorised_ratings(x: Array, *, k: int, ridge: float, penalty: str = "product") -> tuple[Array, Array]:
    """Factors (items, k) and (items, k) that minimise a regularised |X - X A B^T|^2, in closed form.

    The two objectives of Steck et al. 2024 (arXiv:2403.05440), X of shape (n users, items), s its singular
    values, V its right singular vectors. penalty="product" adds ridge |A B^T|^2: A = B = V sqrt(s^2 / (s^2 +
    ridge)); only A B^T is determined, see `rescaled_factors`. penalty="factors" adds ridge (|X A|^2 + |B|^2):
    X A = U sqrt(s - ridge), B = V sqrt(s - ridge), zero where s < ridge; determined up to a common rotation,
    so cosines are unique. Item embeddings are the rows of B, user embeddings the rows of X A.

    Raises ValueError for k outside [1, min(n, items)], a ridge that is not positive, another penalty, or a k
    beyond the numerical rank of X.

    >>> x, _, _ = ratings(jax.random.key(0), 50, 12, c=3)
    >>> [f.shape for f in factorised_ratings(x, k=3, ridge=1.0)]
    [(12, 3), (12, 3)]
    """
    x = checks.matrix(x)
    k = checks.count(k, "k", low=1, high=min(x.shape))
    ridge = checks.real(ridge, "ridge", low=0, open_low=True)
    checks.choice(penalty, "penalty", ("product", "factors"))
    _, s, vt = jnp.linalg.svd(x, full_matrices=False)
    if checks.is_concrete(s) and s[k - 1] <= s[0] * max(x.shape) * jnp.finfo(x.dtype).eps:
        raise ValueError(f"k: expected at most the rank of x, got {k} with singular value {s[k - 1]:.3g}")
    s, v = s[:k], vt[:k].T
    if penalty == "product":
        unit = linalg.scale_of(s)  # squares of large ratings would overflow
        shares = (s / unit) ** 2
        half = v * jnp.sqrt(shares / (shares + ridge / unit / unit))[None]
        return half, half
    kept = jnp.sqrt(jnp.maximum(s - ridge, 0.0))
    return v * (kept / s)[None], v * kept[None]


def rescaled_factors(a: Array, b: Array, *, scales: Array) -> tuple[Array, Array]:
    """Factors A D and B D^-1 with D = diag(`scales`) (k,): same product A B^T, other cosines of rows.

    Answer: every prediction X A B^T is unchanged, and so is the "product" objective of `factorised_ratings`,
    whatever D; cosine similarities of items are not, and can be made nearly anything (Steck et al. 2024,
    arXiv:2403.05440, section 2). Raises ValueError for factors of different width, or scales that are not k
    numbers other than 0.

    >>> a, b = rescaled_factors(jnp.eye(2), jnp.eye(2), scales=jnp.array([1.0, 4.0]))
    >>> (a @ b.T).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    a, b = (checks.matrix(f, name, at_least=1, may_be_constant=True) for f, name in ((a, "a"), (b, "b")))
    scales = checks.floats(scales, "scales")
    if a.shape[1] != b.shape[1] or scales.shape != a.shape[1:]:
        raise ValueError(f"scales: expected one per column of a and b, got shape {scales.shape} "
                         f"for {a.shape} and {b.shape}")
    if checks.is_concrete(scales) and not bool((jnp.isfinite(scales) & (scales != 0)).all()):
        raise ValueError("scales: expected finite numbers other than 0")
    return a * scales[None], b / scales[None]


def relabelled(key: Array, labels, *, share: float, c: int) -> Array:
    """Integer labels (n,) of which round(share n), drawn at random, are replaced by uniform ones of 0..c-1.

    A replaced label is the old one with probability 1/c. Answer: with share 1 nothing about the labels can be learnt,
    only remembered. Raises ValueError for a share outside [0, 1] or labels that are not (n,).

    >>> y = relabelled(jax.random.key(0), jnp.zeros(1000, int), share=0.5, c=10)
    >>> bool(400 < (y > 0).sum() < 500)
    True
    """
    labels = jnp.asarray(labels)
    if labels.ndim != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels: expected integers of shape (n,); got {labels.dtype} of shape {labels.shape}")
    share, c = checks.real(share, "share", low=0, high=1), checks.count(c, "c", low=2, high=2**31)
    which, what = jax.random.split(key)
    replaced = jax.random.permutation(which, len(labels)) < round(share * len(labels))
    return jnp.where(replaced, jax.random.randint(what, labels.shape, 0, c), labels)


def marked(images, marks) -> Array:
    """Images (n, h, w) with the two top pixels of column 2 + mark as bright as the brightest pixel of all.

    `marks` (n,) are integers of 0..w-5. Answer: where the mark is the label, a network may look at nothing else (a
    shortcut); where it is random, it tells nothing. Raises ValueError for other shapes or marks that do not fit.

    >>> marked(jnp.zeros((1, 3, 6)).at[0, 2, 0].set(1.0), jnp.array([1]))[0].astype(int).tolist()
    [[0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0]]
    """
    images, marks = checks.floats(images, "images"), jnp.asarray(marks)
    if images.ndim != 3 or images.shape[1] < 2 or marks.shape != images.shape[:1]:
        raise ValueError(f"marks: expected one for each image (n, h, w), h > 1; got {marks.shape} and {images.shape}")
    if checks.is_concrete(marks) and not bool(((marks >= 0) & (marks < images.shape[2] - 4)).all()):
        raise ValueError(f"marks: expected integers of 0..{images.shape[2] - 5}; got {marks.min()} to {marks.max()}")
    rows = jnp.arange(len(images))[:, None]
    return images.at[rows, jnp.arange(2)[None], 2 + marks[:, None]].set(images.max())


def shifted(key: Array, images, *, reach: int) -> Array:
    """Images (n, h, w), each moved at random by up to `reach` pixels down or up and sideways, uniformly.

    What moves in is the darkest value of all images. Answer: a network that forgives the move is right about both.
    Raises ValueError for a reach outside [0, min(h, w) - 1].

    >>> shifted(jax.random.key(0), jnp.ones((2, 4, 4)), reach=0).sum().item()
    32.0
    """
    images = checks.floats(images, "images")
    if images.ndim != 3:
        raise ValueError(f"images: expected (n, h, w); got shape {images.shape}")
    n, h, w = images.shape
    reach = checks.count(reach, "reach", low=0, high=min(h, w) - 1)
    padded = jnp.pad(images, ((0, 0), (reach, reach), (reach, reach)), constant_values=images.min())
    corners = jax.random.randint(key, (n, 2), 0, 2 * reach + 1)
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1]), (h, w)))(padded, corners)


def _shape(n: int, **widths: int) -> tuple[int, ...]:
    return (checks.count(n, "n", low=2, high=2**31),
            *(checks.count(width, name, low=1, high=2**31) for name, width in widths.items()))


def _rotation(key: Array, p: int, dtype=float) -> Array:
    """An orthogonal matrix (p, p), uniformly distributed."""
    q, r = jnp.linalg.qr(jax.random.normal(key, (p, p), dtype))
    return q * jnp.sign(jnp.diagonal(r))[None]  # without the signs, QR favours some rotations


def _direction(key: Array, x: Array) -> Array:
    v = jax.random.normal(key, (1, x.shape[1]), x.dtype)
    return v / jnp.linalg.norm(v)
