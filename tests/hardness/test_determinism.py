"""The same seed in two processes: the same numbers, the same ledger and the same figure, byte for byte."""

import os
import subprocess
import sys
import textwrap

MADE = """
    import sys
    from pathlib import Path
    import jax
    import matplotlib
    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from repgeo import align, chance, claims, nets, plots, probes, similarity, worlds
    folder = Path(sys.argv[1])
    key = jax.random.key(4)
    x, y = worlds.shared_latents(key, 60, 6, 5, shared=3, noise=0.5)
    found = chance.permutation_test(similarity.cka, x, y, key=key, rounds=40)
    labels = (x[:, 0] > 0).astype(int)
    score = probes.over_splits(probes.ridge, x, labels, key=key, splits=3)
    order, value = align.match_grams(x[:9] @ x[:9].T, x[9:18] @ x[9:18].T, key=key, restarts=3)
    run = nets.train(key, nets.MLP, jax.random.uniform(key, (40, 14, 14)), labels[:40], steps=3, batch=8)
    arrays = [x, y, found.null, order, value, run.losses, *jax.tree.leaves(run.params)]
    (folder / "numbers").write_bytes(b"".join(jax.device_get(a).tobytes() for a in arrays))
    claims.settle(0, [claims.Claim("00.1", "kornblith2019", "alike", "text", "sec. 2", float(found.score),
                                   (score.low, score.high) if score.low <= float(found.score) <= score.high else None,
                                   control="shuffled rows", control_value=float(found.null.mean()), bar=(0.5, 2),
                                   note="a toy")], folder=folder)
    with plots.style():
        ax = plots.distribution({"shuffled": found.null, "halves": score.values}, xlabel="CKA", observed=0.5)
        ax.figure.savefig(folder / "figure.png")
        plt.close(ax.figure)
"""


def test_two_processes_make_the_same_bytes(tmp_path):
    runs = []
    for seed in ("1", "2"):  # of Python's hashes, which order its sets
        folder = tmp_path / seed
        folder.mkdir()
        command = [sys.executable, "-c", textwrap.dedent(MADE), str(folder)]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        runs.append((folder, subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)))
    for _, process in runs:
        said = process.communicate(timeout=300)[1]
        assert process.returncode == 0, said
    one, two = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder, _ in runs)
    assert sorted(one) == ["00.json", "figure.png", "numbers"]
    assert one == two
    assert len(one["numbers"]) > 10_000 and one["figure.png"].startswith(b"\x89PNG")
