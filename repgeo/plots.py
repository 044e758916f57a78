"""Figures on one pair of axes each: data first, the rest by keyword, the axes come back.

The title is the caller's, and says what was found; axis labels name the quantity and its unit. Colour never
stands alone: lines differ in marker and dash, cells carry a symbol. Nothing is shown or saved here.
"""
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

# Okabe and Ito's palette, told apart by all forms of colour vision, without its yellow: too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
INK, PALE = "#333333", "#8A8A8A"

STYLE = {
    "figure.figsize": (6.4, 4.0), "figure.dpi": 110, "figure.constrained_layout.use": True,
    "font.size": 12, "axes.titlesize": 12.5, "axes.labelsize": 12, "legend.fontsize": 11,
    "xtick.labelsize": 11, "ytick.labelsize": 11, "xtick.major.size": 0, "ytick.major.size": 0,
    "legend.frameon": False, "legend.handlelength": 2.6,
    "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlepad": 9.0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": PALE, "axes.axisbelow": True,
    "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.grid": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=COLOURS), "lines.linewidth": 1.9, "lines.markersize": 6,
    "image.cmap": "viridis",
}


def style() -> AbstractContextManager:
    """The house style for the figures made inside a `with` block; settings outside are left alone.

    A notebook that wants it throughout says `plt.rcParams.update(plots.STYLE)` once.

    >>> with style():
    ...     float(plt.rcParams["font.size"])
    12.0
    """
    return mpl.rc_context(STYLE)


def layer_grid(values, *, label: str, rows: Sequence[str] | None = None, cols: Sequence[str] | None = None,
               xlabel: str = "", ylabel: str = "", title: str = "", vmin: float = 0.0, vmax: float = 1.0,
               annotate: bool | None = None, mark_best: bool = False, ax: Axes | None = None) -> Axes:
    """Heat map of `values` (l1, l2), one row and column per layer; the colour bar is called `label`.

    `rows` and `cols` name the layers (1, 2, ... without), numbers are written into the cells up to 10 by 10
    unless `annotate` says otherwise, `mark_best` frames the largest value of each row. NaN cells stay blank.

    >>> layer_grid([[1.0, 0.2], [0.1, 0.9]], label="CKA").get_xlabel()
    ''
    >>> plt.close()
    """
    values = _numbers(values, "values", 2, nan=True)
    rows, cols = _names(rows, values.shape[0], "rows"), _names(cols, values.shape[1], "cols")
    if not vmin < vmax:
        raise ValueError(f"vmin and vmax: expected vmin < vmax, got {vmin} and {vmax}")
    ax = _axes(ax)
    annotate = max(values.shape) <= 10 if annotate is None else annotate
    size = 11 if max(values.shape) <= 6 else 9
    sns.heatmap(values, ax=ax, vmin=vmin, vmax=vmax, cmap="viridis", square=True, annot=annotate, fmt=".2f",
                annot_kws={"size": size}, xticklabels=cols, yticklabels=rows, linewidths=0.6,
                cbar_kws={"label": label, "shrink": 0.85})
    ax.collections[0].colorbar.outline.set_visible(False)
    if mark_best:
        for row, value in enumerate(values):
            if np.isfinite(value).any():
                frame = plt.Rectangle((np.nanargmax(value) + 0.04, row + 0.04), 0.92, 0.92, fill=False,
                                      edgecolor=COLOURS[1], linewidth=2.4)
                ax.add_patch(frame)
    ax.tick_params(axis="y", rotation=0)
    ax.tick_params(axis="x", rotation=0)
    if len("".join(cols)) > 36:
        plt.setp(ax.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
    return _named(ax, xlabel, ylabel, title)


def curves(x, ys, *, labels: Sequence[str], xlabel: str, ylabel: str, intervals: Sequence | None = None,
           title: str = "", ax: Axes | None = None) -> Axes:
    """One line per row of `ys` (m, t) over `x` (t,), with a band where `intervals` has a pair (low, high).

    `intervals` holds one pair of (t,) arrays, or None, per line, as `chance.mean_interval(runs)` gives them.

    >>> curves([1, 2], [[0.1, 0.2]], labels=["CKA"], xlabel="epoch", ylabel="similarity").get_xlabel()
    'epoch'
    >>> plt.close()
    """
    x, ys = _numbers(x, "x", 1), _numbers(ys, "ys", 2, nan=True)
    labels = _names(labels, len(ys), "labels")
    if ys.shape[1] != len(x):
        raise ValueError(f"ys: expected {len(x)} values a line, one for each x, got shape {ys.shape}")
    bands = _pairs(intervals, len(ys), each=x.shape)
    ax = _axes(ax)
    for i, (y, label, band) in enumerate(zip(ys, labels, bands, strict=True)):
        if band is not None:
            ax.fill_between(x, *band, color=_pick(COLOURS, i), alpha=0.18, linewidth=0)
        ax.plot(x, y, color=_pick(COLOURS, i), linestyle=_pick(DASHES, i), marker=_pick(MARKERS, i),
                markevery=max(1, len(x) // 12), markeredgecolor="white", markeredgewidth=0.8, label=label)
    if len(ys) > 1:
        ax.legend()
    return _named(ax, xlabel, ylabel, title)


def null_band(x, low, high, *, label: str = "chance (95 %)", ax: Axes | None = None) -> Axes:
    """Grey hatched band from `low` to `high` (t,) or scalars over `x` (t,): where a number means nothing.

    >>> null_band([0, 1], -0.1, 0.1).get_legend() is None
    True
    >>> plt.close()
    """
    x = _numbers(x, "x", 1)
    low, high = (np.broadcast_to(np.asarray(end, float), x.shape) for end in (low, high))
    if not (low <= high).all():
        raise ValueError("low and high: expected low <= high everywhere")
    ax = _axes(ax)
    ax.fill_between(x, low, high, facecolor="#D9D9D9", edgecolor="white", hatch="///", alpha=0.7, linewidth=0,
                    label=label, zorder=0.5)
    if ax.get_legend() is not None:
        ax.legend()
    return ax


def dots(values, *, labels: Sequence[str], xlabel: str, intervals: Sequence | None = None, reference=None,
         chance: float | None = None, ours: str = "measured here", theirs: str = "paper", title: str = "",
         ax: Axes | None = None) -> Axes:
    """One dot per value (m,), first on top, with its interval; diamonds show `reference`, a line `chance`.

    `intervals` holds one pair (low, high), or None, per value; `reference` (m,) is NaN where there is none.

    >>> len(dots([0.9, 0.2], labels=["CKA", "CCA"], xlabel="accuracy").get_yticklabels())
    2
    >>> plt.close()
    """
    values = _numbers(values, "values", 1, nan=True)
    labels = _names(labels, len(values), "labels")
    pairs = _pairs(intervals, len(values), each=())
    if reference is not None:
        reference = _numbers(reference, "reference", 1, nan=True)
        if len(reference) != len(values):
            raise ValueError(f"reference: expected {len(values)} numbers, got {len(reference)}")
    ax = _axes(ax)
    heights = np.arange(len(values))
    for height, pair in zip(heights, pairs, strict=True):
        if pair is not None:
            ax.plot(pair, [height, height], color=COLOURS[0], linewidth=3.2,
                    alpha=0.45, solid_capstyle="round", zorder=2)
    ax.plot(values, heights, "o", color=COLOURS[0], markersize=8, markeredgecolor="white", zorder=4,
            label=ours)
    if reference is not None:
        ax.plot(reference, heights, "D", markersize=8, markerfacecolor="none", markeredgecolor=COLOURS[1],
                markeredgewidth=1.8, label=theirs, zorder=3)
    if chance is not None:
        ax.axvline(chance, color=PALE, linestyle="--", linewidth=1.5, label="chance", zorder=1)
    ax.set_yticks(heights, labels)
    ax.set_ylim(len(values) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    if reference is not None or chance is not None:
        below = ScaledTranslation(0, -3.7 * plt.rcParams["font.size"] / 72, ax.figure.dpi_scale_trans)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=ax.transAxes + below, ncols=3)
    return _named(ax, xlabel, "", title)


def distribution(values: Mapping[str, Sequence[float]], *, xlabel: str, bins: int = 30,
                 observed: float | None = None, title: str = "", ax: Axes | None = None) -> Axes:
    """Histograms, as densities over common bins, of each named set of numbers; a line marks `observed`.

    >>> distribution({"shuffled": [0.1, 0.2, 0.15]}, xlabel="CKA", observed=0.8).get_ylabel()
    'density'
    >>> plt.close()
    """
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"values: expected a non-empty mapping of name to numbers, got {values!r:.60}")
    sets = {name: _numbers(v, f"values[{name!r}]", 1) for name, v in values.items()}
    ax = _axes(ax)
    edges = np.histogram_bin_edges(np.concatenate(list(sets.values())), bins)
    for i, (name, v) in enumerate(sets.items()):
        outline = np.repeat(edges, 2), np.pad(np.repeat(np.histogram(v, edges, density=True)[0], 2), 1)
        ax.fill_between(*outline, color=_pick(COLOURS, i), alpha=0.22, linewidth=0)
        ax.plot(*outline, color=_pick(COLOURS, i), linestyle=_pick(DASHES, i), label=name)
    ax.set_ylim(bottom=0)
    if observed is not None:
        ax.axvline(observed, color=INK, linewidth=2.2, label=f"observed: {observed:.3g}")
    if len(sets) > 1 or observed is not None:
        ax.legend()
    return _named(ax, xlabel, "density", title)


def invariance_table(survives, *, measures: Sequence[str], changes: Sequence[str], title: str = "",
                     ax: Axes | None = None) -> Axes:
    """Table of which `measures` (rows) stay the same under which `changes` (columns): a tick or a cross.

    `survives` is (measures, changes) of booleans.

    >>> ax = invariance_table([[True, False]], measures=["CKA"], changes=["rotation", "affine"])
    >>> [text.get_text() for text in ax.texts]
    ['✓', '✗']
    >>> plt.close()
    """
    survives = np.asarray(survives)
    if survives.dtype != bool or survives.ndim != 2 or survives.size == 0:
        raise ValueError("survives: expected booleans (measures, changes), "
                         f"got {survives.dtype} {survives.shape}")
    measures = _names(measures, survives.shape[0], "measures")
    changes = _names(changes, survives.shape[1], "changes")
    ax = _axes(ax)
    tints = mpl.colors.ListedColormap(["#FBE3D6", "#CFE5F3"])
    ax.pcolormesh(survives.astype(float), cmap=tints, vmin=0, vmax=1, edgecolors="white", linewidth=2.5)
    for (row, col), holds in np.ndenumerate(survives):
        ax.text(col + 0.5, row + 0.5, "✓" if holds else "✗", ha="center", va="center", fontsize=15,
                color="#004C78" if holds else "#A33B00", fontfamily="DejaVu Sans")
    ax.set_xticks(np.arange(len(changes)) + 0.5, [textwrap.fill(name, 12) for name in changes])
    ax.set_yticks(np.arange(len(measures)) + 0.5, measures)
    ax.xaxis.tick_top()
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return _named(ax, "", "", title)


def scatter(x, y, *, xlabel: str, ylabel: str, groups: Sequence | None = None,
            names: Sequence[str] | None = None, title: str = "", ax: Axes | None = None) -> Axes:
    """Points at `x` (n,) and `y` (n,); `groups` (n,) sets colour and marker, `names` (n,) writes beside each.

    >>> scatter([0.1, 0.5], [0.3, 0.9], xlabel="CKA", ylabel="mutual kNN").get_ylabel()
    'mutual kNN'
    >>> plt.close()
    """
    x, y = _numbers(x, "x", 1), _numbers(y, "y", 1)
    if len(x) != len(y):
        raise ValueError(f"x and y: expected equal lengths, got {len(x)} and {len(y)}")
    kinds = np.full(len(x), "") if groups is None else np.array(_names(groups, len(x), "groups"))
    names = None if names is None else _names(names, len(x), "names")
    ax = _axes(ax)
    for i, kind in enumerate(dict.fromkeys(kinds.tolist())):
        own = kinds == kind
        ax.scatter(x[own], y[own], color=_pick(COLOURS, i), marker=_pick(MARKERS, i), label=kind or None,
                   s=14 if len(x) > 300 else 46, alpha=0.55 if len(x) > 300 else 0.9, edgecolor="white",
                   linewidth=0 if len(x) > 300 else 0.7)
    if names is not None:
        for name, a, b in zip(names, x, y, strict=True):
            ax.annotate(name, (a, b), xytext=(6, 4), textcoords="offset points", fontsize=10)
    if groups is not None:
        ax.legend()
    return _named(ax, xlabel, ylabel, title)


def guardedness(report, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Held-out accuracy of every probe on every version of the rows, with intervals; a dashed line for the majority.

    `report` is what `erasure.guardedness_report` returns; a task's probe comes last.

    >>> from types import SimpleNamespace as Some
    >>> score = Some(mean=0.9, low=0.8, high=1.0, majority=0.5)
    >>> report = Some(rows={"before": Some(probes={"linear": score}, task=None)})
    >>> guardedness(report).get_xlabel()
    'accuracy on held-out rows'
    >>> plt.close()
    """
    ax = _axes(ax)
    tables = {name: row.probes | ({"task": row.task} if row.task else {}) for name, row in report.rows.items()}
    probes = list(next(iter(tables.values())))
    for i, (name, scores) in enumerate(tables.items()):
        heights = np.arange(len(probes)) + 0.18 * (i - (len(tables) - 1) / 2)
        for height, score in zip(heights, scores.values(), strict=True):
            ax.plot([score.low, score.high], [height, height], color=_pick(COLOURS, i), linewidth=3, alpha=0.45)
        ax.plot([score.mean for score in scores.values()], heights, linestyle="", marker=_pick(MARKERS, i),
                color=_pick(COLOURS, i), markeredgecolor="white", markersize=8, label=name)
    for height, score in enumerate(next(iter(tables.values())).values()):
        ax.plot([score.majority] * 2, [height - 0.42, height + 0.42], color=PALE, linestyle="--", linewidth=1.5,
                label="majority" if height == 0 else None, zorder=1)
    ax.set_yticks(range(len(probes)), probes)
    ax.set_ylim(len(probes) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _named(ax, "accuracy on held-out rows", "", title)


def _axes(ax: Axes | None) -> Axes:
    return plt.gca() if ax is None else ax


def _named(ax: Axes, xlabel: str, ylabel: str, title: str) -> Axes:
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if title:  # broken to the width of the axes, since Matplotlib's own wrapping ignores the layout
        inches = ax.figure.get_size_inches()[0] * ax.get_position().width
        letters = inches * 72 / (0.55 * plt.rcParams["font.size"])
        ax.set_title(textwrap.fill(title, max(12, int(letters)), break_on_hyphens=False))
    return ax


def _numbers(values, name: str, ndim: int, *, nan: bool = False) -> np.ndarray:
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected numbers of equal lengths, got {values!r:.60}") from None
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"{name}: expected a non-empty array with {ndim} axes, got shape {array.shape}")
    if np.isinf(array).any() or (np.isnan(array).any() and not nan):
        raise ValueError(f"{name}: expected finite numbers{' or NaN' if nan else ''}")
    return array


def _names(names: Sequence | None, size: int, name: str) -> list[str]:
    names = [str(i + 1) for i in range(size)] if names is None else [str(n) for n in names]
    if len(names) != size:
        raise ValueError(f"{name}: expected {size} names, got {len(names)}")
    return names


def _pairs(intervals: Sequence | None, size: int, *, each: tuple[int, ...]) -> list:
    pairs = [None] * size if intervals is None else list(intervals)
    pairs = [pair if pair is None else _numbers(pair, f"intervals[{i}]", 1 + len(each), nan=True)
             for i, pair in enumerate(pairs)]
    if len(pairs) != size or any(pair is not None and pair.shape != (2, *each) for pair in pairs):
        shapes = [None if pair is None else pair.shape for pair in pairs]
        raise ValueError(f"intervals: expected {size} pairs (low, high), each of shape {(2, *each)} or None; "
                         f"got {shapes}")
    return pairs


def _pick(options: Sequence, i: int):
    return options[i % len(options)]
