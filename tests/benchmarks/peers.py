"""What users run today, restated in a few lines each: only the order of operations of each peer is kept."""

import numpy as np


def numpy_cka(x, y):
    """Feature form on centred arrays, as NumPy users write it; x.T @ x is a symmetric product in OpenBLAS."""
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def torch_cka(x, y):
    """The same in PyTorch."""
    x, y = x - x.mean(0), y - y.mean(0)
    return (x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())


def double_loop(pair):
    """A measure called for every pair of layers."""
    return lambda xs, ys: [[float(pair(x, y)) for y in ys] for x in xs]


def numpy_gram_stack(xs, ys):
    """What an expert writes: all Gram matrices once, as rows, and one product."""

    def rows(layers):
        n = len(layers[0])
        stack = np.empty((len(layers), n * n), layers[0].dtype)
        for row, z in zip(stack, layers, strict=True):
            z = z - z.mean(0)
            np.matmul(z, z.T, out=row.reshape(n, n))
        return stack / np.linalg.norm(stack, axis=1, keepdims=True)

    return rows(xs) @ rows(ys).T


def platonic_unbiased_cka(x, y):
    """platonic-rep: unbiased HSIC of uncentred torch Gram matrices, with the n^3 product under a trace-like sum."""

    def hsic(k, m):
        n = len(k)
        k, m = k.clone().fill_diagonal_(0), m.clone().fill_diagonal_(0)
        value = (k * m.T).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * (k @ m).sum() / (n - 2)
        return value / (n * (n - 3))

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / ((hsic(k, k) * hsic(m, m)).sqrt() + 1e-6)


def model_compare_update(xs, ys):
    """PyTorch-Model-Compare: three unbiased HSICs for every pair of layers, each with an n^3 product."""
    import torch

    def hsic(k, m):
        n = len(k)
        ones = torch.ones(n, 1)
        sums = (ones.T @ k @ ones @ ones.T @ m @ ones).item() / ((n - 1) * (n - 2))
        rows = 2 * (ones.T @ k @ m @ ones).item() / (n - 2)
        return (torch.trace(k @ m).item() + sums - rows) / (n * (n - 3))

    found = torch.zeros(3, len(xs), len(ys))
    for i, x in enumerate(xs):
        k = (x @ x.T).fill_diagonal_(0)
        found[0, i] += hsic(k, k)
        for j, y in enumerate(ys):
            m = (y @ y.T).fill_diagonal_(0)
            found[1, i, j] += hsic(k, m)
            found[2, i, j] += hsic(m, m)
    return found


def netrep_cka(x, y):
    """netrep's form: the cosine of centred n x n Gram matrices."""
    x, y = x - x.mean(0), y - y.mean(0)
    k, m = x @ x.T, y @ y.T
    return np.sum(k * m) / (np.linalg.norm(k) * np.linalg.norm(m))


def google_svcca(x, y, threshold=0.99, epsilon=1e-10):
    """The google/svcca recipe: SVD, truncate, then CCA by roots of pseudo-inverses, in float64. Rows are neurons.

    Every decomposition that it takes to the mean correlation is here (Raghu et al. 2017, `cca_core.py` and the tutorial
    beside it); the coefficients that it also returns are not.
    """

    def truncated(acts):
        acts = acts - acts.mean(1, keepdims=True)
        _, s, vt = np.linalg.svd(acts, full_matrices=False)
        k = int(np.searchsorted(np.cumsum(s**2) / np.sum(s**2), threshold)) + 1
        return s[:k, None] * vt[:k]

    def inverse_root(a):
        values, vectors = np.linalg.eigh(np.linalg.pinv(a + epsilon * np.eye(len(a))))
        return (vectors * np.sqrt(values)) @ vectors.T

    a, b = truncated(x.T), truncated(y.T)
    k = len(a)
    covariance = np.cov(a, b)
    xx, xy, yy = covariance[:k, :k], covariance[:k, k:], covariance[k:, k:]
    top, other = np.abs(xx).max(), np.abs(yy).max()
    inner = inverse_root(xx / top) @ (xy / np.sqrt(top * other)) @ inverse_root(yy / other)
    _, rho, _ = np.linalg.svd(inner)
    return rho[: min(len(a), len(b))].mean()


def platonic_mutual_knn(x, y, k=10):
    """platonic-rep: full argsort of both similarity matrices, then products of n x n masks."""
    import torch

    def mask(z):
        n = len(z)
        found = (z @ z.T).fill_diagonal_(-1e8).argsort(dim=1, descending=True)[:, :k]
        return torch.zeros(n, n).scatter_(1, found, 1)

    return float(((mask(x) * mask(y)).sum(1) / k).mean())


def numpy_procrustes(x, y):
    """Size-and-shape distance by NumPy's singular values (computed in float64 for float32 input)."""
    x, y = x - x.mean(0), y - y.mean(0)
    nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    return np.sqrt(np.linalg.norm(x) ** 2 + np.linalg.norm(y) ** 2 - 2 * nuclear)


def sklearn_neighbors(x, k):
    """scikit-learn's brute force: distances and rows of the k nearest other rows."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors()


def skdim_twonn_and_mle(x, k=20):
    """scikit-dimension: TwoNN sorts every row of distances and fits a line; MLE searches again and loops over rows."""
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    ratios = []
    for block in pairwise_distances_chunked(x):
        block = np.sort(block, axis=1)
        ratios.append(block[:, 2] / block[:, 1])
    n = len(x)
    mu = np.sort(np.concatenate(ratios))[: int(0.9 * n)]
    levels = -np.log(1 - np.arange(1, len(mu) + 1) / n)
    line = LinearRegression(fit_intercept=False).fit(np.log(mu)[:, None], levels[:, None])
    distances, _ = NearestNeighbors(n_neighbors=k).fit(x).kneighbors()
    lids = np.array([(k - 1) / np.sum(np.log(row[-1] / row[:-1])) for row in distances])
    return float(line.coef_[0, 0]), float(1 / np.mean(1 / lids))


def numpy_rankme(x):
    """RankMe as its users write it in NumPy, which finds singular values in float64 whatever it is given."""
    s = np.linalg.svd(x, compute_uv=False)
    p = s / s.sum() + 1e-7
    return np.exp(-np.sum(p * np.log(p)))


def numpy_participation_ratio(x):
    """The participation ratio off the eigenvalues of the covariance."""
    values = np.linalg.eigvalsh(np.cov(x.T))
    return values.sum() ** 2 / (values**2).sum()


def half_samples(score, x, rounds=200):
    """A score of random halves of the rows, one after the other, in NumPy: quantiles of the values."""
    random = np.random.default_rng(0)
    values = [float(score(x[random.permutation(len(x))[: len(x) // 2]])) for _ in range(rounds)]
    return np.quantile(values, [0.025, 0.975])


def half_samples_in_jax(score, x, key, rounds=200):
    """The same in JAX, with rows drawn from keys."""
    import jax

    draws = (jax.random.permutation(k, len(x))[: len(x) // 2] for k in jax.random.split(key, rounds))
    return np.quantile([float(score(x[rows])) for rows in draws], [0.025, 0.975])
