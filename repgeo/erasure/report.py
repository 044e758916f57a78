"""What is guarded, what other probes still read, and what broke meanwhile: one table, its controls in every row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, linalg
from repgeo.erasure.concept import mean_directions
from repgeo.erasure.eraser import project_out
from repgeo.erasure.words import Association, similarity_agreement, weat
from repgeo.neighbors import nearest, shared
from repgeo.probes import Score, code_length, cross_entropy, entropy, knn, logistic, mlp, over_splits, rbf
from repgeo.probes.linear import labelled

PROBES = {"linear": logistic, "rbf": rbf, "mlp": mlp, "knn": knn}


@dataclass(frozen=True)
class Reading:
    """One version of the rows: what probes read of the concept, and how far the version is from the original.

    rank: directions in which it differs from the original. certificate: H(y) - CE in nats of a converged linear probe
    on the rows it was fitted on, 0 where guarded. probes: held-out accuracy by probe. bits: code length of a label by
    a linear probe. edit: mean squared move over the total variance. cka: linear CKA with the original. overlap: mean
    share of the nearest neighbours that stay. task: held-out accuracy of a linear probe of the task, if there is one.
    words: Spearman's correlation with each set of ratings; weat: effect size and p of each test; empty without words.
    """

    rank: int
    certificate: float
    probes: dict[str, Score]
    bits: float
    edit: float
    cka: float
    overlap: float
    task: Score | None
    words: dict[str, float] = field(default_factory=dict)
    weat: dict[str, Association] = field(default_factory=dict)


@dataclass(frozen=True)
class Guardedness:
    """Readings by name: "before", "after", "random" and "shuffled", the two controls; entropy H(y) in nats."""

    rows: dict[str, Reading]
    entropy: float

    def table(self) -> str:
        """The readings as lines of text, a Markdown table; accuracies with their intervals."""
        first = next(iter(self.rows.values()))
        names = [*first.probes, *(["task"] if first.task else [])]
        more = [*first.words, *(f"WEAT {name} d (p)" for name in first.weat)]
        ends = " | ".join(["bits", "edit", "cka", "overlap", *more])
        lines = ["| | rank | certificate | " + " | ".join(names) + f" | {ends} |"]
        lines.append("|" + "---|" * (7 + len(names) + len(more)))
        for name, row in self.rows.items():
            scores = [*row.probes.values(), *([row.task] if row.task else [])]
            cells = [f"{s.mean:.3f} [{s.low:.3f}, {s.high:.3f}]" for s in scores]
            tail = [f"{value:.3f}" for value in (row.bits, row.edit, row.cka, row.overlap, *row.words.values())]
            tail += [f"{found.d:.2f} ({found.p:.3f})" for found in row.weat.values()]
            lines.append("| " + " | ".join([name, str(row.rank), f"{row.certificate:.4f}", *cells, *tail]) + " |")
        shares = [f"majority {score.majority:.3f}" for score in list(first.probes.values())[:1]]
        return "\n".join([*lines, f"\nH(y) = {self.entropy:.4f} nats; {shares[0]}"])


def guardedness_report(
    before: Array, after: Array, y: Array, *, key: Array, task: Array | None = None, probes: Mapping | None = None,
    splits: int = 5, k: int = 10, words: Sequence[str] | None = None, ratings: Mapping | None = None,
    associations: Mapping | None = None,
) -> Guardedness:
    """What `after` (n, p) still tells of the classes y (n,), and what it lost of `before` (n, p), beside two controls.

    `after` is `before` erased, in whatever way; it may also be the output of a network. Controls have the rank of the
    edit, r: "random" is `before` without r random directions, and "shuffled" without the directions between class
    means of shuffled labels, filled up with random ones to r. Damage that a control shows too is that of any edit of
    this rank, and a concept that a control hides was never there. An erased row is not a held-out row: probes are
    scored on rows that the eraser may have seen, so hand in others where it matters. `task` (n,) are other classes
    whose reading should stay; `probes` by name are fitted as in `repgeo.probes`, the four of PROBES unless given; `k`
    neighbours. `words` (n,) names the rows where they are vectors of words; then `ratings` by name, each (pairs (m, 2),
    scores (m,)) as `datasets.ratings` gives them, and `associations` by name, each four lists of words for `weat`,
    are measured too. Cost: 4 versions of all probes over `splits`, most of it the network, and O(n^2 p). Errors as
    `probes.over_splits`; ValueError for versions of different shapes, and where nothing was edited.

    >>> import jax, jax.numpy as jnp
    >>> from repgeo.erasure import mean_projection
    >>> from repgeo.probes import ridge
    >>> x = jax.random.normal(jax.random.key(0), (80, 4)) + jnp.arange(80)[:, None] // 40 * jnp.array([[4.0, 0, 0, 0]])
    >>> y = jnp.arange(80) // 40
    >>> after = mean_projection(x, y, labels="categorical").transform(x)
    >>> report = guardedness_report(x, after, y, key=jax.random.key(1), probes={"ridge": ridge})
    >>> [name for name, row in report.rows.items() if row.certificate > 0.1]
    ['before', 'random', 'shuffled']
    """
    before, y, c = labelled(before, y, None)
    after = checks.matrix(after, "after")
    if after.shape != before.shape:
        raise ValueError(f"before and after: expected one shape; got {before.shape} and {after.shape}")
    probes = dict(PROBES if probes is None else probes)
    ratings, associations = dict(ratings or {}), dict(associations or {})
    at = _places(words, len(before), ratings, associations)
    k = checks.count(k, "k", low=1, high=len(before) - 1, why="n - 1 other rows")
    rank = edit_rank(before, after)
    if not rank:
        raise ValueError("after: expected rows that an eraser moved; got those of before")
    at_random, at_shuffle, fits = jax.random.split(key, 3)
    random = jax.random.normal(at_random, (before.shape[1], rank), before.dtype)
    shuffled = jax.nn.one_hot(jax.random.permutation(at_shuffle, y), c, dtype=before.dtype)
    by_chance = jnp.concatenate([mean_directions(linalg.center(before), shuffled), random], 1)[:, :rank]
    mean = before.mean(0)
    versions = {
        "before": before,
        "after": after.astype(before.dtype),
        "random": project_out(random.T, bias=mean).transform(before),
        "shuffled": project_out(by_chance.T, bias=mean).transform(before),
    }
    lists = nearest(before, k=k, metric="euclidean")
    return Guardedness(
        {
            name: replace(
                _reading(before, version, y, lists, fits, c, task, probes, splits, k),
                words={of: similarity_agreement(version, words, *rated) for of, rated in ratings.items()},
                weat={
                    of: weat(*(version[jnp.asarray([at[w] for w in words])] for words in sets), key=fits)
                    for of, sets in associations.items()
                },
            )
            for name, version in versions.items()
        },
        entropy(y),
    )


def _places(words, n, ratings, associations):
    """The row of each word, or an error that names what is missing."""
    if words is None:
        if ratings or associations:
            raise ValueError("words: expected the word of each row, for ratings and associations; got None")
        return {}
    at = {str(word): row for row, word in enumerate(words)}
    if len(at) != n or len(words) != n:
        raise ValueError(f"words: expected {n} different ones, one a row; got {len(words)}, {len(at)} of them")
    for name, sets in associations.items():
        lost = [word for some in sets for word in some if word not in at]
        if len(sets) != 4 or lost:
            raise ValueError(
                f"associations[{name!r}]: expected four lists of words that rows are named by; got {len(sets)} lists, "
                f"with {len(lost)} unknown words {lost[:5]}"
            )
    return at


def edit_rank(before: Array, after: Array) -> int:
    """How many directions the rows (n, p) were moved in: the rank of after - before, centred, at 1e-4 of its largest.

    >>> import jax.numpy as jnp
    >>> edit_rank(jnp.eye(3), jnp.eye(3) * jnp.array([[1.0, 0.0, 1.0]]))
    1
    """
    move = linalg.center(after.astype(before.dtype) - before)
    s = np.asarray(linalg.singular_values(move))
    rounding = float(jnp.finfo(before.dtype).eps) * float(jnp.abs(before).max()) * sum(before.shape) ** 0.5 * 10
    return int(np.sum(s > max(1e-4 * s[0], rounding)))


def _reading(before, version, y, lists, key, c, task, probes, splits, k):
    """All readings share their key, so that every version is split alike."""
    spread = linalg.center(before)
    unit = linalg.scale_of(spread)  # squares could overflow or underflow
    fitted = logistic(version, y, classes=c)
    near = nearest(version, k=k, metric="euclidean")
    return Reading(
        edit_rank(before, version),
        entropy(y) - float(cross_entropy(fitted, version, y)),
        {name: over_splits(probe, version, y, key=key, classes=c, splits=splits) for name, probe in probes.items()},
        code_length(logistic, version, y, key=key, classes=c),
        float(jnp.sum(((version - before) / unit) ** 2) / jnp.sum((spread / unit) ** 2)),
        float(_cka(before, version)),
        float(shared(lists, near).mean() / k),
        None if task is None else over_splits(logistic, version, task, key=key, splits=splits),
    )


def _cka(x, y):
    cross, own, other = (linalg.frobenius(linalg.cosines(a, b)[0]) for a, b in ((x, y), (x, x), (y, y)))
    return cross**2 / (own * other)
