"""No public callable is forgotten: each is on every hard case in a table here, or is named with where it is tested."""

import dataclasses
import inspect
from importlib import import_module
from pathlib import Path

import test_hard_align
import test_hard_diffusion
import test_hard_erasure
import test_hard_similarity
import test_hard_spectrum

import repgeo

ROOT = Path(__file__).resolve().parents[2]
TABLES = (test_hard_similarity, test_hard_spectrum, test_hard_diffusion, test_hard_erasure, test_hard_align)
HARD = {name for module in TABLES for name in module.TABLE}
BEHIND_A_DOOR = set(
    "debiased_moments.TwoFloat.rounded debiased_moments.TwoFloat.sum debiased_moments.TwoFloat.times "
    "moments.exact_sum neighbors.lengths neighbors.nearest neighbors.nonzero_rows neighbors.originals "
    "neighbors.shared".split()
)  # called by other rooms with arrays that those have checked
ELSEWHERE = {  # rooms of files, figures and training: the test file of each
    "tests/test_large.py": "large",
    "tests/test_neighbors_large.py": "neighbors_large",
    "tests/test_nets.py": "nets",
    "tests/test_merging.py": "merging",
    "tests/test_plots.py": "plots",
    "tests/test_papers.py": "papers",
    "tests/test_claims.py": "claims",
    "tests/test_datasets.py": "datasets",
    "tests/report/test_report_broken_files.py": "report",
}
NAMED = {  # what takes no matrix of samples, or a minute: the test file that hands it what it must refuse
    "align.assert_disjoint": "align/test_controls.py",
    "align.split_disjoint": "align/test_controls.py",
    "align.Map.inverse": "align/test_maps.py",
    "align.Map.then": "align/test_maps.py",
    "align.unpaired_align": "align/test_unpaired.py",
    "chance.proportion_interval": "test_chance.py",
    "chance.Null.quantile": "test_calibrated.py",
    "chance.Null.adjusted": "test_calibrated.py",
    "diffusion.equal_count_labels": "diffusion/test_information.py",
    "erasure.Eraser.compose": "erasure/test_erasure_doors.py",
    "erasure.Guardedness.table": "erasure/test_report.py",
    "erasure.weat_from": "test_large.py",
    "erasure.fantope": "erasure/test_rlace.py",
    "moments.spread": "test_moments.py",
    "relative.top_frequency": "relative/test_anchors.py",
    "spectrum.marchenko_pastur_edge": "spectrum/test_noise.py",
    "views.dft": "test_views.py",
    "worlds.clusters": "test_worlds.py",
    "worlds.independent": "test_worlds.py",
    "worlds.low_rank": "test_worlds.py",
    "worlds.marked": "test_audit_runs.py",
    "worlds.ratings": "test_worlds.py",
    "worlds.relabelled": "test_audit_runs.py",
    "worlds.shared_latents": "test_worlds.py",
    "worlds.shifted": "test_audit_runs.py",
}


def public():
    """(name, callable) of all that the rooms show, and of the methods of their classes."""
    for room in repgeo._ROOMS:
        module = import_module(f"repgeo.{room}")
        inside = module.__name__ + ("." if hasattr(module, "__path__") else "")
        for name, value in vars(module).items():
            home = getattr(value, "__module__", None) or ""
            if name.startswith("_") or not callable(value) or not (home + ".").startswith(inside.rstrip(".") + "."):
                continue
            yield f"{room}.{name}", value
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    if not method.startswith("_") and inspect.isfunction(function):
                        yield f"{room}.{name}.{method}", function


def test_every_public_callable_has_a_row():
    shown, left = dict(public()), []
    for name, value in shown.items():
        record = inspect.isclass(value) and (dataclasses.is_dataclass(value) or issubclass(value, Exception))
        known = name in HARD or name in BEHIND_A_DOOR or name in NAMED or name.split(".")[0] in ELSEWHERE.values()
        if not (record or known):
            left.append(name)
    assert len(shown) > 200 and len(HARD) > 170
    assert not left, f"add a row for {', '.join(left)} to a TABLE in tests/hardness, or say where else it is tested"


def test_no_row_is_of_what_is_gone():
    assert not (HARD | BEHIND_A_DOOR | set(NAMED)) - set(dict(public()))


def test_what_is_said_to_be_tested_elsewhere_is():
    for name, file in NAMED.items():
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert name.split(".")[-1] in text, f"{file} says nothing of {name}"
    for file, room in ELSEWHERE.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        assert room in text and ("raises" in text or "broken" in text), f"{file} refuses nothing of {room}"
