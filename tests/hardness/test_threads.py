"""What runs in threads ends: XLA's pool must not wait for itself (see `linalg.side_by_side`)."""

import subprocess
import sys
import threading

import numpy as np

from repgeo import report
from repgeo.report import run
from repgeo.report.parts import Part, Section

MANY = """
import jax.numpy as jnp, numpy as np
from repgeo import diffusion, linalg, neighbors, similarity, spectrum
linalg.cores = lambda: 8  # more threads than XLA has
x = jnp.asarray(np.random.default_rng(0).normal(size=(2100, 40)), jnp.float32)
for _ in range(5):
    neighbors.neighborhoods(x, k=3)
    similarity.mutual_knn(x, x[:, ::-1])
    diffusion.dse_curve(x[:300], sigmas=jnp.linspace(1.0, 9.0, 16), ts=(1.0, 2.0))
    spectrum.spectra(x)
print("ended")
"""


def test_all_that_the_library_runs_in_threads_ends_with_more_threads_than_cores():
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "ended", done.stderr[-500:]


def test_sections_of_a_report_run_in_the_thread_of_the_caller(monkeypatch, tmp_path):
    seen = []

    def section(data):
        seen.append(threading.get_ident())
        return Part(("here",))

    for name in ("PROBED", "STITCHED", "ERASED"):
        monkeypatch.setattr(run, name, Section(name.lower(), name, section, 1))
    monkeypatch.setattr(run, "OF_ONE", (Section("first", "First", section, 1),))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 3)))
    np.save(tmp_path / "labels.npy", np.arange(40) % 2)
    report.inspect(tmp_path / "x.npy", labels=tmp_path / "labels.npy", out=tmp_path / "out")
    assert seen == 3 * [threading.get_ident()]
