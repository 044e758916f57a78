"""Sections on a single embedding matrix, shown for each matrix side by side."""

import jax.numpy as jnp
import numpy as np

from repgeo import diffusion, dimension, spectrum
from repgeo.neighbors import neighborhoods
from repgeo.report import figures
from repgeo.report.parts import Data, Part, Table, beside

NEAR_ROWS = 4_000  # for what takes distances between all pairs of rows
NEAR = 64
DSE_ROWS, DSE_PARTS = 400, 4
SHARES = (0.125, 0.25, 0.5, 1.0)


def spectra(data: Data) -> Part:
    """Spectrum and ranks."""
    values = {name: jnp.asarray(a) for name, a in data.matrices.items()}
    both = {name: spectrum.spectra(a) for name, a in values.items()}
    centred, plain = ({name: of[i] for name, of in both.items()} for i in (0, 1))
    ranks = {
        "RankMe (uncentred)": lambda name: spectrum.rankme(plain[name]),
        "Effective rank, singular values (centred)": lambda name: spectrum.effective_rank(centred[name]),
        "Effective rank, variances (centred)": lambda name: spectrum.effective_rank(centred[name], on="variance"),
        "Participation ratio (centred)": lambda name: spectrum.participation_ratio(centred[name]),
        "Stable rank (uncentred)": lambda name: spectrum.stable_rank(plain[name]),
        "NESum (centred)": lambda name: spectrum.nesum(centred[name]),
        "Directions for 95 % of the variance": lambda name: spectrum.dims_for_variance(centred[name], share=0.95),
        "Decay exponent alpha-ReQ (centred)": lambda name: spectrum.alpha_req(centred[name]),
    }
    table, why, numbers = beside(
        f"Ranks of {data.n:,} rows. Each counts directions in its own convention.",
        "score",
        ranks,
        {name: name for name in values},
    )
    features = ", ".join(f"{name} has {a.shape[1]:,} features" for name, a in values.items())
    variances = {name: np.square(s.values) for name, s in centred.items()}
    curves = {name: of / max(float(of.sum()), 1e-30) for name, of in variances.items()}
    shown = (
        f"How many directions are in use? {features}; a rank near that number means that all are used evenly.",
        table,
        figures.spectra(curves),
        *why,
    )
    return Part(shown, {"rows": data.n, "scores": numbers})


def isotropy(data: Data) -> Part:
    """Isotropy."""
    some = data.some(NEAR_ROWS)
    measures = {
        "IsoScore": spectrum.isoscore,
        "Mean cosine of two rows": spectrum.average_cosine,
        "Partition score": spectrum.partition_score,
        "Self-clustering": spectrum.self_cluster,
        "Uniformity (t = 2)": spectrum.uniformity,
    }
    n = len(next(iter(some.values())))
    table, why, numbers = beside(f"Isotropy of {n:,} rows.", "score", measures, some)
    text = (
        "Do rows point everywhere alike? IsoScore is 1 when all directions hold the same variance; a mean cosine "
        "far above 0 is a direction that all rows share, and subtracting the mean removes it. Uniformity is lower "
        "the more evenly rows cover the sphere."
    )
    return Part((text, table, *why), {"rows": n, "scores": numbers})


def intrinsic(data: Data) -> Part:
    """Intrinsic dimension."""
    some = data.some(NEAR_ROWS)
    n = len(next(iter(some.values())))
    k = min(NEAR, n // 4)
    near = {name: neighborhoods(a, k=k) for name, a in some.items()}
    low = min(20, k)
    measures = {
        "TwoNN": lambda name: dimension.twonn(near[name]),
        f"Local, maximum likelihood, k = {low}, harmonic mean": lambda name: dimension.mean_lid(near[name], k=low),
        f"Local, maximum likelihood, k = {k}, harmonic mean": lambda name: dimension.mean_lid(near[name], k=k),
    }
    table, why, numbers = beside(
        f"Intrinsic dimension of {n:,} rows.", "estimator", measures, {name: name for name in some}
    )
    ranks = tuple(2**i for i in range(k.bit_length()) if 2**i <= k)
    curves = {name: dimension.gride(found, ranks=ranks) for name, found in near.items()}
    for name, curve in curves.items():
        numbers[name]["gride"] = {
            "neighbours": ranks[1:],
            "dimension": np.asarray(curve.dimension).tolist(),
            "error": np.asarray(curve.error).tolist(),
        }
    text = (
        "How many degrees of freedom do the rows have? Noise raises an estimate at small scale (few neighbours), "
        "curvature and boundaries lower it at large scale, so the curve matters more than any one number: look "
        "for a plateau. Fewer rows give lower values."
    )
    return Part((text, table, figures.gride(curves, ranks), *why), {"rows": n, "neighbours": k, "scores": numbers})


def entropy(data: Data) -> Part:
    """Diffusion spectral entropy."""
    size = min(DSE_ROWS, data.n // 2)
    some = data.some(size * min(DSE_PARTS, data.n // size))
    rows, numbers, curves = [], {}, {}
    for name, a in some.items():
        median = float(diffusion.median_sigma(a[:size], share=1.0))
        found = [diffusion.dse_by_subsamples(a, sigma=share * median, size=size, key=data.key(1)) for share in SHARES]
        curves[name] = found
        numbers[name] = {
            "median_distance": median,
            "bits": [float(f.bits) for f in found],
            "intervals": [[float(f.low), float(f.high)] for f in found],
        }
    for at, share in enumerate(SHARES):
        cells = (curves[name][at] for name in some)
        rows.append((f"{share:g}", *(f"{f.bits:.2f} bits\n{f.low:.2f} to {f.high:.2f}" for f in cells)))
    total = len(next(iter(some.values())))
    caption = (
        f"Diffusion spectral entropy at t = 1: mean of {total // size} disjoint samples of {size} rows each, 95 % "
        f"interval."
    )
    table = Table(caption, ("width / median distance", *some), tuple(rows))
    text = (
        f"Into how many groups do the rows fall, seen at a given width? 0 bits: one group; {np.log2(size):.2f} "
        f"bits: every row by itself, which is all that a width far below the distances can show."
    )
    return Part(
        (text, table, figures.entropy(curves, SHARES, float(np.log2(size)))),
        {"rows": total, "size": size, "shares": list(SHARES), "scores": numbers},
    )


def picture(data: Data) -> Part:
    """A picture."""
    some = data.some(1_500)
    n = len(next(iter(some.values())))
    points, shares = {}, {}
    for name, a in some.items():
        a = np.asarray(a) - np.asarray(a).mean(0)
        u, s, _ = np.linalg.svd(a, full_matrices=False)
        points[name] = (u * s)[:, :2] if s.size > 1 else np.pad(u * s, ((0, 0), (0, 1)))
        shares[name] = float((s[:2] ** 2).sum() / (s**2).sum())
    labels = None if data.labels is None else data.labels[data.order[:n] if n < data.n else slice(None)]
    held = "; ".join(f"{100 * share:.0f} % of the variance of {name}" for name, share in shares.items())
    text = f"{n:,} rows on their first two principal components. These hold {held}: most of the geometry is elsewhere."
    return Part((text, figures.picture(points, labels, data.classes)), {"rows": n, "variance_shown": shares})
