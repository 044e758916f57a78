"""Stopped at any point, out of disk, run twice at once: what was complete stays, and the next run goes on or anew."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import jax
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from repgeo import claims
from repgeo.align import vec2vec
from repgeo.book.execute import run

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(30, 4)).astype(np.float32), RANDOM.normal(size=(30, 3)).astype(np.float32)
SETTINGS = vec2vec.Settings(width=6, adapter_depth=2, backbone_depth=2, critic_depth=2, batch=8, warmup=2)
REPORT = """
    import os, signal, sys
    from repgeo import report
    from repgeo.__main__ import main
    from repgeo.report import run
    from repgeo.report.parts import Part, Section
    run.OF_ONE = (Section("works", "Works", lambda data: Part((f"{data.n} rows",), {"n": data.n}), 1),)
"""


HEARD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def child(code, *arguments, **options):
    """A Python process that runs `code`, indented or not, and hears interrupts even if ours, started by &, does not."""
    command = [sys.executable, "-c", HEARD + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def awaited(condition, process, seconds=120):
    """Wait until a condition holds while the process runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "waited too long"


def trained(steps, checkpoint=None):
    return vec2vec.fit(X, Y, key=jax.random.key(1), steps=steps, settings=SETTINGS, checkpoint=checkpoint, every=20)


def steps_done(file):
    with np.load(file, allow_pickle=False) as kept:
        return len(kept["losses"])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", Y)
    return folder


TRAIN = """
    import sys, jax, numpy as np
    from repgeo.align.vec2vec import Settings, fit
    folder, state = sys.argv[1:]
    x, y = (np.load(f"{folder}/{name}.npy") for name in "xy")
    small = Settings(width=6, adapter_depth=2, backbone_depth=2, critic_depth=2, batch=8, warmup=2)
    fit(x, y, key=jax.random.key(1), steps=10**6, settings=small, checkpoint=state, every=20)
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_that_is_killed_goes_on_to_the_same_end(sent, files, tmp_path):
    state = tmp_path / "state.npz"
    process = child(TRAIN, files, state)
    awaited(state.exists, process)
    moment = time.monotonic() + RANDOM.uniform(0, 0.3)  # in the middle of a step, or of a write
    awaited(lambda: time.monotonic() > moment, process)
    before = steps_done(state)
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == -sent
    done = steps_done(state)
    assert done >= before and done % 20 == 0
    resumed, whole = trained(done + 20, state), trained(done + 20)
    assert steps_done(state) == done + 20
    np.testing.assert_allclose(resumed.losses, whole.losses, atol=2e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), resumed, whole)


def test_a_report_that_is_stopped_while_it_is_written_leaves_no_half_file(files, tmp_path):
    """Killed before the first and before the second of its files takes its name."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("earlier")
    (out / "report.json").write_text("{}")
    stopped = REPORT + """
    at, sent, real, seen = int(sys.argv[3]), int(sys.argv[4]), os.replace, []
    def replace(source, target):
        if len(seen) == at:
            os.kill(os.getpid(), sent)
        seen.append(target)
        real(source, target)
    os.replace = replace
    sys.exit(main(["inspect", sys.argv[1], "--out", sys.argv[2], "--quiet"]))
    """
    runs = {(at, sent): child(stopped, files / "x.npy", out / f"{at}-{int(sent)}", at, int(sent))
            for at, sent in ((0, signal.SIGINT), (0, signal.SIGTERM), (1, signal.SIGKILL))}  # fmt: skip
    for (at, sent), process in runs.items():
        said = process.communicate(timeout=120)[1]
        assert process.returncode == (130 if sent == signal.SIGINT else -sent), said
        place = out / f"{at}-{int(sent)}"
        shown = sorted(file.name for file in place.iterdir() if not file.name.startswith("."))
        assert shown == ["report.html"][:at]
        for name in shown:
            assert (place / name).read_text().rstrip().endswith("</html>")
        if sent == signal.SIGINT:
            assert said.strip().endswith("repgeo: interrupted; nothing was written") and "Traceback" not in said
            assert not [file for file in place.iterdir() if file.name.startswith(".")]
    again = child(REPORT + "\n    sys.exit(main(['inspect', sys.argv[1], '--out', sys.argv[2], '--quiet']))",
                  files / "x.npy", out / f"1-{int(signal.SIGKILL)}")  # fmt: skip
    assert again.communicate(timeout=120)[1] == "" and again.returncode == 0
    assert json.loads((out / f"1-{int(signal.SIGKILL)}" / "report.json").read_text())["rows"] == 30


def test_a_full_disk_is_one_line_and_earlier_files_stay(files, tmp_path):
    """A limit on the size of files stands for a full disk: writes fail in the middle."""
    out, ledger, state = tmp_path / "out", tmp_path / "claims", tmp_path / "state.npz"
    out.mkdir()
    (out / "report.html").write_text("earlier")
    claim = claims.Claim("00.1", "steck2024", "cosine is arbitrary", "text", "sec. 2", None)
    claims.settle(0, [claim], folder=ledger)
    trained(20, state)
    before = {file: file.read_bytes() for file in (out / "report.html", ledger / "00.json", state)}
    full = REPORT + """
    import resource, jax, numpy as np
    from repgeo import claims
    from repgeo.align import vec2vec
    folder, out, ledger, state = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    status = main(["inspect", f"{folder}/x.npy", "--out", out, "--quiet"])
    claim = claims.Claim("00.1", "steck2024", "another " * 50, "text", "sec. 2", None)
    for write in (lambda: claims.settle(0, [claim], folder=ledger),
                  lambda: vec2vec._keep(vec2vec.Path(state), {"a": np.ones(99)}, np.ones((1, 7)), "what")):
        try:
            write()
        except OSError as error:
            print(error.strerror)
    sys.exit(status)
    """
    process = child(full, files, out, ledger, state)
    said, wrong = process.communicate(timeout=120)
    assert process.returncode == 2, wrong
    assert wrong.strip().splitlines() == [f"repgeo: {out}: cannot be written into: File too large"]
    assert said.splitlines() == ["File too large"] * 2
    assert before == {file: file.read_bytes() for file in before}
    assert {file.name for place in (out, ledger, tmp_path) for file in place.iterdir()} == {
        "report.html", "00.json", "state.npz", "out", "claims"}  # fmt: skip


def test_two_writers_at_once_leave_a_whole_file_at_every_moment(tmp_path):
    writer = """
    import sys, numpy as np
    from pathlib import Path
    from repgeo import claims
    from repgeo.align import vec2vec
    from repgeo.report import run
    folder, mark = Path(sys.argv[1]), sys.argv[2]
    for i in range(40):
        long = mark * 400 * (1 + i % 7)
        claims.settle(0, [claims.Claim("00.1", "steck2024", long, "text", "sec. 2", None)], folder=folder)
        run._write(folder / "out", {"report.html": f"<html>{long}</html>", "report.json": f'"{long}"'})
        vec2vec._keep(folder / "state.npz", {"a": np.full(900 * (1 + i % 7), i)}, np.ones((i, 7)), mark)
    """
    pair = [child(writer, tmp_path, mark) for mark in "ab"]
    seen = set()

    def looked():
        if (tmp_path / "out" / "report.json").exists() and (tmp_path / "state.npz").exists():
            says = claims.read(tmp_path / "00.json").claims[0].says
            page = (tmp_path / "out" / "report.html").read_text()
            assert page.startswith("<html>") and page.endswith("</html>")
            numbers = json.loads((tmp_path / "out" / "report.json").read_text())
            assert len(set(says)) == len(set(page[6:-7])) == len(set(numbers)) == 1
            with np.load(tmp_path / "state.npz", allow_pickle=False) as kept:
                assert len(set(kept["leaf_0"].tolist())) == 1
            seen.add(says[0])
        return all(process.poll() is not None for process in pair)

    end = time.monotonic() + 120
    while not looked():
        assert time.monotonic() < end
    for process in pair:
        assert process.communicate()[1] == "" and process.returncode == 0
    assert seen
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == [
        "00.json", "report.html", "report.json", "state.npz"]  # fmt: skip


def test_notebooks_that_are_interrupted_keep_what_was_complete(tmp_path, capsys):
    source, out, flag = tmp_path / "notebooks", tmp_path / "build", tmp_path / "go on"
    source.mkdir()
    waits = f"import os\nwhile not os.path.exists({str(flag)!r}) and os.getppid() != 1: pass\nprint('went on')"
    for name, code in {"00_quick": "print('well')", "01_slow": waits}.items():
        nbformat.write(new_notebook(cells=[new_code_cell(code, id="a")]), source / f"{name}.ipynb")
    folders = {"out": out / "notebooks", "ledger": out / "claims", "logs": out / "logs"}
    go = """
    import sys
    from pathlib import Path
    from repgeo.book.execute import run
    source, out = map(Path, sys.argv[1:])
    folders = {"out": out / "notebooks", "ledger": out / "claims", "logs": out / "logs"}
    run(sorted(source.glob("*.ipynb")), **folders)
    """
    kept = {}
    for sent in (signal.SIGINT, signal.SIGKILL):
        process = child(go, source, out, start_new_session=True)
        said = ""
        while "notebook 2 of 2" not in said:
            assert (read := process.stdout.read(1)), process.stderr.read()
            said += read
        os.kill(process.pid, sent)
        process.communicate(timeout=60)
        assert process.returncode != 0
        assert ("notebook 1 of 2" in said) == (not kept)  # what was complete is not run again
        kept = kept or {file.name: file.read_bytes() for file in (out / "notebooks").iterdir()}
        assert sorted(kept) == ["00_quick.ipynb", "00_quick.run.json"]
        assert kept == {file.name: file.read_bytes() for file in (out / "notebooks").iterdir()}
    flag.touch()
    assert run(sorted(source.glob("*.ipynb")), **folders) == []
    assert "notebook 1 of 2" not in capsys.readouterr().out
    done = nbformat.read(out / "notebooks" / "01_slow.ipynb", as_version=4)
    assert done.cells[0].outputs[0].text == "went on\n"
    assert kept.items() <= {file.name: file.read_bytes() for file in (out / "notebooks").iterdir()}.items()
