"""The figures of the page, drawn by repgeo.plots into PNG files in memory."""

import io
from collections.abc import Callable

import numpy as np

from repgeo import plots
from repgeo.report.parts import Figure, said


def _drawn(draw: Callable, *, alt: str, caption: str, size=(5.4, 3.3), panels: int = 1) -> Figure:
    with plots.style():
        figure = plots.mpl.figure.Figure(figsize=size)
        axes = figure.subplots(1, panels, squeeze=False)[0]
        draw(*axes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return Figure(buffer.getvalue(), alt, caption)


def spectra(curves: dict[str, np.ndarray]) -> Figure:
    """Share of the variance by direction, on two logarithmic axes."""

    def draw(ax):
        for i, (name, shares) in enumerate(curves.items()):
            shares = shares[shares > 0]
            ax.loglog(
                np.arange(1, len(shares) + 1), shares, color=plots.COLOURS[i], linestyle=plots.DASHES[i], label=name
            )
        if len(curves) > 1:
            ax.legend()
        ax.set_xlabel("direction, by variance")
        ax.set_ylabel("share of the variance")

    firsts = "; ".join(
        f"{name}: the first holds {100 * s[0]:.0f} %, ten hold {100 * s[:10].sum():.0f} %" for name, s in curves.items()
    )
    return _drawn(
        draw,
        alt=f"Falling curves of the share of variance by direction. {firsts}.",
        caption="Spectrum of the covariance.",
    )


def gride(curves: dict, ranks: tuple[int, ...]) -> Figure:
    """Dimension by scale, with standard errors."""
    names, ys = list(curves), np.stack([np.asarray(c.dimension) for c in curves.values()])
    bands = [
        (y - 2 * np.asarray(c.error), y + 2 * np.asarray(c.error)) for y, c in zip(ys, curves.values(), strict=True)
    ]

    def draw(ax):
        plots.curves(
            ranks[1:], ys, labels=names, intervals=bands, xlabel="neighbours (scale)", ylabel="dimension", ax=ax
        )
        ax.set_xscale("log", base=2)
        ax.set_xticks(ranks[1:], [str(r) for r in ranks[1:]])
        ax.set_ylim(bottom=0)

    ends = "; ".join(
        f"{name} from {said(y[0])} at {ranks[1]} neighbours to {said(y[-1])} at {ranks[-1]}"
        for name, y in zip(names, ys, strict=True)
    )
    return _drawn(
        draw,
        alt=f"Intrinsic dimension by number of neighbours: {ends}.",
        caption="Intrinsic dimension by scale (Gride), with two standard errors.",
    )


def entropy(curves: dict, shares, most: float) -> Figure:
    """Entropy by width, with intervals."""
    ys = [[float(f.bits) for f in found] for found in curves.values()]
    bands = [(np.array([float(f.low) for f in c]), np.array([float(f.high) for f in c])) for c in curves.values()]

    def draw(ax):
        plots.curves(
            shares, ys, labels=list(curves), intervals=bands, xlabel="width / median distance", ylabel="bits", ax=ax
        )
        ax.axhline(most, color=plots.PALE, linestyle="--", linewidth=1.5)
        ax.set_xscale("log", base=2)
        ax.set_xticks(shares, [f"{s:g}" for s in shares])
        ax.set_ylim(0, most * 1.08)

    ends = "; ".join(f"{name} from {y[0]:.2f} to {y[-1]:.2f}" for name, y in zip(curves, ys, strict=True))
    return _drawn(
        draw,
        alt=f"Entropy falls with the width: {ends} bits.",
        caption="Diffusion spectral entropy by width; the dashed line is the most that these rows can have.",
    )


def alike(found: dict) -> Figure:
    """Each measure as a dot with its interval, above what shuffled rows give."""
    names = list(found)

    def draw(ax):
        for at, (score, ends, luck) in enumerate(found.values()):
            ax.plot(
                luck,
                [at, at],
                color=plots.PALE,
                linewidth=7,
                alpha=0.45,
                solid_capstyle="butt",
                label="shuffled rows, 95 %" if at == 0 else None,
            )
            ax.plot(ends, [at, at], color=plots.COLOURS[0], linewidth=3, alpha=0.6)
            ax.plot(
                [score], [at], "o", color=plots.COLOURS[0], markersize=7, label="value, interval" if at == 0 else None
            )
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("value (the distance is in radians)")
        ax.figure.legend(loc="outside lower center", ncols=2)

    values = "; ".join(f"{name} {said(score)}, shuffled {said(luck)}" for name, (score, _, luck) in found.items())
    return _drawn(draw, alt=f"Dots: {values}.", caption="Similarity beside what shuffled rows give.", size=(6.0, 4.4))


def dots(values: dict[str, float], xlabel: str, caption: str, *, chance: float, ends=None) -> Figure:
    """One dot a row of a table, a line where chance lies."""

    def draw(ax):
        plots.dots(
            list(values.values()),
            labels=list(values),
            xlabel=xlabel,
            intervals=ends,
            chance=chance,
            ours="measured",
            ax=ax,
        )
        ax.set_xlim(-0.02, 1.02)

    listed = "; ".join(f"{name} {said(value)}" for name, value in values.items())
    return _drawn(
        draw, alt=f"Dots: {listed}; chance {said(chance)}.", caption=f"{caption}.", size=(5.6, 1.6 + 0.36 * len(values))
    )


def erased(report, name: str) -> Figure:
    """Probes before and after erasure, and beside controls."""
    after = {probe: said(score.mean) for probe, score in report.rows["LEACE"].probes.items()}
    return _drawn(
        lambda ax: plots.guardedness(report, ax=ax),
        alt=f"Accuracy after erasure: {after}.",
        caption=f"{name}: what probes read before and after erasure, and after an edit of the same rank.",
        size=(5.8, 2.8),
    )


def picture(points: dict[str, np.ndarray], labels, classes) -> Figure:
    """Rows on two principal components, one panel a matrix."""
    few = labels is not None and len(classes) <= len(plots.COLOURS)

    def draw(*axes):
        for ax, (name, at) in zip(axes, points.items(), strict=True):
            groups = [classes[label] for label in labels] if few else None
            plots.scatter(at[:, 0], at[:, 1], xlabel="component 1", ylabel="component 2", groups=groups, ax=ax)
            if ax.get_legend() is not None:
                ax.get_legend().remove()
            ax.set_title(name)
        if few:
            handles, names = axes[0].get_legend_handles_labels()
            axes[0].figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))

    by = ", coloured by label" if few else ""
    return _drawn(
        draw,
        alt=f"Scatter of the rows of {' and '.join(points)} on two principal components{by}.",
        caption=f"First two principal components{by}.",
        size=(2.9 * len(points) + 0.3, 3.3),
        panels=len(points),
    )
