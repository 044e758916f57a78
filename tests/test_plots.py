"""Plots: the axes hold what was handed in, colour never stands alone, nothing is shown."""
import subprocess
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from repgeo import plots


@pytest.fixture(autouse=True)
def quiet_figures(monkeypatch):
    """Without a screen, closed afterwards, and with plt.show forbidden."""
    plt.switch_backend("Agg")

    def shown(*_, **__):
        raise AssertionError("a plot showed itself")

    monkeypatch.setattr(plt, "show", shown)
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()  # warnings from layout or missing glyphs are errors
    plt.close("all")


GRID = np.array([[0.9, 0.2, 0.1], [0.3, 0.8, np.nan]])
CALLS = {
    "layer_grid": lambda **k: plots.layer_grid(GRID, label="CKA", xlabel="here", ylabel="there", **k),
    "curves": lambda **k: plots.curves([0, 1], [[1, 2]], labels="a", xlabel="here", ylabel="there", **k),
    "dots": lambda **k: plots.dots([1, 2], labels="ab", xlabel="here", **k),
    "distribution": lambda **k: plots.distribution({"a": [1, 2, 2]}, xlabel="here", **k),
    "scatter": lambda **k: plots.scatter([1, 2], [3, 4], xlabel="here", ylabel="there", **k),
    "invariance_table": lambda **k: plots.invariance_table(np.eye(2) > 0, measures="ab", changes="cd", **k),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_plot_returns_the_axes_it_was_given_or_the_current_ones_with_title_and_labels(name):
    _, (left, right) = plt.subplots(1, 2)
    assert CALLS[name](ax=left, title="what was found") is left
    plt.sca(right)
    assert CALLS[name]() is right
    assert left.get_title() + left.get_title(loc="left") == "what was found"
    if name != "invariance_table":
        assert left.get_xlabel() == right.get_xlabel() == "here"
    assert len(plt.get_fignums()) == 1


def test_a_layer_grid_writes_every_number_names_its_layers_and_its_colour_bar():
    ax = plots.layer_grid(GRID, label="CKA", rows=["in", "out"], vmin=-1, vmax=2)
    assert [t.get_text() for t in ax.texts] == ["0.90", "0.20", "0.10", "0.30", "0.80"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["in", "out"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "3"]
    assert ax.collections[0].colorbar.ax.get_ylabel() == "CKA"
    assert ax.collections[0].get_clim() == (-1, 2)


def test_a_large_layer_grid_leaves_the_numbers_out_unless_asked():
    large = np.full((11, 11), 0.5)
    assert len(plots.layer_grid(large, label="CKA", ax=plt.figure().gca()).texts) == 0
    assert len(plots.layer_grid(large, label="CKA", annotate=True, ax=plt.figure().gca()).texts) == 121


def test_the_best_layer_of_each_row_is_framed_and_a_blank_row_has_none():
    ax = plots.layer_grid([[0.1, 0.9], [0.8, 0.2], [np.nan, np.nan]], label="CKA", mark_best=True)
    assert [(int(p.get_x()), int(p.get_y())) for p in ax.patches] == [(1, 0), (0, 1)]


def test_curves_hold_the_data_and_differ_in_colour_marker_and_dash():
    ys = np.arange(14.0).reshape(7, 2)
    ax = plots.curves([10, 20], ys, labels=list("abcdefg"), xlabel="step", ylabel="similarity")
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines], ys)
    for look in ("get_color", "get_marker", "get_linestyle"):
        looks = [str(getattr(line, look)()) for line in ax.lines]
        assert len(set(looks)) >= (4 if look == "get_linestyle" else 7)  # custom dashes report as "--"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == list("abcdefg")


def test_curves_draw_one_band_for_each_interval_given():
    ax = plots.curves([0, 1, 2], [[1, 2, 3], [3, 4, 5]], labels="ab", xlabel="x", ylabel="y",
                      intervals=[([0, 1, 2], [2, 3, 4]), None])
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == 0 and corners[:, 1].max() == 4


def test_a_single_curve_needs_no_legend():
    assert plots.curves([0, 1], [[1, 2]], labels=["a"], xlabel="x", ylabel="y").get_legend() is None


def test_a_null_band_joins_the_legend_and_takes_scalars():
    ax = plots.curves([0, 1], [[1, 2], [2, 3]], labels="ab", xlabel="x", ylabel="y")
    assert plots.null_band([0, 1], -0.5, 0.5, ax=ax) is ax
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b", "chance (95 %)"]
    corners = ax.collections[-1].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (-0.5, 0.5)
    assert ax.collections[-1].get_hatch() == "///"


def test_dots_stand_first_on_top_with_intervals_open_reference_marks_and_a_chance_line():
    ax = plots.dots([0.9, 0.2], labels=["CKA", "CCA"], intervals=[(0.8, 1.0), None], reference=[0.99, np.nan],
                    chance=0.1, xlabel="accuracy")
    interval, ours, theirs, chance = ax.lines
    assert interval.get_xdata().tolist() == [0.8, 1.0] and ours.get_xdata().tolist() == [0.9, 0.2]
    assert theirs.get_markerfacecolor() == "none" and theirs.get_marker() != ours.get_marker()
    assert chance.get_xdata() == [0.1, 0.1]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["CKA", "CCA"]
    bottom, top = ax.get_ylim()
    assert bottom > 1 and top < 0
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["measured here", "paper", "chance"]


def test_distributions_are_densities_over_common_bins_with_the_observed_value_marked():
    values = {"shuffled": np.linspace(0, 1, 50), "noise": np.linspace(0.5, 2, 70)}
    ax = plots.distribution(values, xlabel="CKA", observed=1.5, bins=12)
    for line in ax.lines[:2]:
        x, y = line.get_data()
        assert np.trapezoid(y, x) == pytest.approx(1) and len(x) == 26
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    assert ax.lines[2].get_xdata() == [1.5, 1.5]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["shuffled", "noise", "observed: 1.5"]


def test_the_invariance_table_marks_cells_by_symbol_as_well_as_colour():
    ax = plots.invariance_table([[True, False, True], [False, True, True]], measures=["CKA", "CCA"],
                                changes=["rotation", "invertible affine map", "scale"])
    assert [t.get_text() for t in ax.texts] == ["✓", "✗", "✓", "✗", "✓", "✓"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["CKA", "CCA"]
    assert ax.yaxis_inverted()


def test_scatter_groups_differ_in_marker_and_colour_and_names_stand_beside_points():
    ax = plots.scatter([0, 1, 2], [0, 1, 2], groups=["text", "image", "text"], names=["a", "b", "c"],
                       xlabel="x", ylabel="y")
    text, image = ax.collections
    assert len(text.get_offsets()) == 2 and len(image.get_offsets()) == 1
    assert text.get_paths()[0].vertices.shape != image.get_paths()[0].vertices.shape
    assert [t.get_text() for t in ax.texts] == ["a", "b", "c"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["text", "image"]


def test_a_long_title_is_broken_to_the_width_of_the_axes():
    with plots.style():
        plt.figure()
        ax = plots.scatter([0, 1], [0, 1], xlabel="x", ylabel="y", title="layers that " * 12)
        ax.figure.canvas.draw()
        title = ax._left_title
        assert "\n" in title.get_text()
        assert title.get_window_extent().x1 <= ax.figure.bbox.x1


def test_the_style_ends_with_its_block():
    before = dict(plt.rcParams)
    with plots.style():
        assert plt.rcParams["axes.titlelocation"] == "left" and plt.rcParams["font.size"] >= 11
    assert dict(plt.rcParams) == before


def test_colours_stand_out_from_white_paper():
    for colour in plots.COLOURS:
        channels = np.array([int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) > 2.2


def test_importing_the_rest_loads_no_plotting_library():
    code = ("import sys, repgeo, repgeo.chance, repgeo.claims, repgeo.worlds; "
            "sys.exit(bool({'matplotlib', 'seaborn', 'scipy.stats', 'optax', 'sklearn'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(("call", "words"), [
    (lambda: plots.layer_grid([1, 2], label="CKA"), "values: expected a non-empty array with 2 axes"),
    (lambda: plots.layer_grid([[np.inf]], label="CKA"), "values: expected finite"),
    (lambda: plots.layer_grid([["a"]], label="CKA"), "values: expected numbers"),
    (lambda: plots.layer_grid(GRID, label="CKA", rows=["a"]), "rows: expected 2 names, got 1"),
    (lambda: plots.layer_grid(GRID, label="CKA", vmin=1, vmax=0), "vmin < vmax"),
    (lambda: plots.curves([0, 1], [[1, 2, 3]], labels="a", xlabel="x", ylabel="y"), "ys: expected 2 values"),
    (lambda: plots.curves([0, 1], [[1, 2]], labels="ab", xlabel="x", ylabel="y"), "labels: expected 1"),
    (lambda: plots.curves([0, np.nan], [[1, 2]], labels="a", xlabel="x", ylabel="y"), "x: expected finite"),
    (lambda: plots.curves([0, 1], [[1, 2]], labels="a", xlabel="x", ylabel="y", intervals=[]), "1 pairs"),
    (lambda: plots.curves([0, 1], [[1, 2]], labels="a", xlabel="x", ylabel="y", intervals=[([1], [2])]),
     r"each of shape \(2, 2\) or None; got \[\(2, 1\)\]"),
    (lambda: plots.curves([0, 1], [[1, 2], [3]], labels="ab", xlabel="x", ylabel="y"), "equal lengths"),
    (lambda: plots.null_band([0, 1], 0.5, 0.1), "low <= high"),
    (lambda: plots.dots([], labels=[], xlabel="x"), "values: expected a non-empty"),
    (lambda: plots.dots([1], labels="a", xlabel="x", intervals=[(1, 2, 3)]), "intervals: expected 1 pairs"),
    (lambda: plots.dots([1], labels="a", xlabel="x", reference=[1, 2]), "reference: expected 1"),
    (lambda: plots.distribution({}, xlabel="x"), "non-empty mapping"),
    (lambda: plots.distribution([1, 2], xlabel="x"), "non-empty mapping"),
    (lambda: plots.distribution({"a": [np.nan]}, xlabel="x"), "'a'.*expected finite"),
    (lambda: plots.invariance_table([[0.5]], measures="a", changes="b"), "expected booleans"),
    (lambda: plots.scatter([1], [1, 2], xlabel="x", ylabel="y"), "equal lengths, got 1 and 2"),
    (lambda: plots.scatter([1], [1], xlabel="x", ylabel="y", names="ab"), "names: expected 1"),
])
def test_bad_input_is_named_before_anything_is_drawn(call, words):
    with pytest.raises(ValueError, match=words):
        call()
    assert not plt.get_fignums()


def test_every_version_of_a_guardedness_report_is_a_marker_of_its_own_on_every_probe():
    def score(mean):
        return SimpleNamespace(mean=mean, low=mean - 0.05, high=mean + 0.05, majority=0.5)

    rows = {
        name: SimpleNamespace(probes={"linear": score(mean), "rbf": score(0.9)}, task=score(0.8))
        for name, mean in (("before", 0.95), ("after", 0.5), ("random", 0.94), ("shuffled", 0.93))
    }
    ax = plots.guardedness(SimpleNamespace(rows=rows), title="Guarded, not erased")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["linear", "rbf", "task"]
    drawn = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert list(drawn) == [*rows, "majority"]
    assert len({drawn[name].get_marker() for name in rows}) == 4
    np.testing.assert_allclose(drawn["after"].get_xdata(), [0.5, 0.9, 0.8])
