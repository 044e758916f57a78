"""Align every ordered pair of four text encoders without a pair of texts and keep the scores: runs/unpaired.npz.

Each run splits the 20 000 definitions of glosses and glosses_more into 2 048 that only judge and two halves without
a common text; the encoder `source` sees one half, `target` the other, turned at random. `unpaired_align` chooses
among its candidates by its own score. Arrays, for pairs x seeds unless said otherwise:

    source, target      (pairs,) names of the encoders
    seeds               (seeds,)
    tuned               (pairs,) whether held-out scores of the pair were looked at while the method was built
    clusters            (candidates,) cluster numbers that were tried
    candidates          (pairs, seeds, candidates) score of each after scouting; floor: what a random start reaches
    floor, score        the latter of the final map
    chosen              cluster number of the chosen candidate
    <scores>            top_1, top_10, mean_rank, foscttm, cosine, top_1_csls of the final map on the held-out texts
    oracle_<scores>     of Procrustes on the true pairs of the target's half
    identity, random    top-1 of no map at all, and of a random rotation
    identity_unturned   top-1 of no map where the target is not turned: what shared coordinates would give
    wrong_model         top-1 of a third encoder's rows sent through the map
    shuffled            (pairs,) top-1 of a map fitted to the target with its columns shuffled, first seed

It takes hours on one core. Every finished run lies in `--parts`, from where an interrupted build goes on.
"""

import argparse
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from cards import DATA, record, replace_file

from repgeo import align, datasets, retrieval

FIRST = ("minilm_l6", "use_m3", "potion8m")
ENCODERS = (*FIRST, "wordllama")
TUNED = (("minilm_l6", "use_m3"), ("use_m3", "minilm_l6"))  # defaults were chosen on these, by held-out scores
CLUSTERS = (60, 80)
HELD_OUT, SEEDS = 2048, 5
SCORES = ("top_1", "top_10", "mean_rank", "foscttm", "cosine")


def pairs():
    """Ordered pairs of encoders, those of the three large families first."""
    both = list(itertools.permutations(ENCODERS, 2))
    return sorted(both, key=lambda pair: not set(pair) <= set(FIRST))


def texts(rows=None):
    """{encoder: (n, p) float32} of the definitions in both files, and their ids (n,)."""
    files = [datasets.load("glosses"), datasets.load("glosses_more")]
    ids = np.concatenate([file["ids"] for file in files])[:rows]
    return {name: np.concatenate([file[name] for file in files])[:rows] for name in ENCODERS}, ids


def fitted(a, b):
    """Rows (n, q) of a (n, p) cut or padded with zeros to the width of b."""
    width = min(a.shape[1], b.shape[1])
    return jnp.pad(a[:, :width], ((0, 0), (0, b.shape[1] - width)))


def judged(a, b):
    """The scores of finding row i of b from row i of a, by name."""
    found = retrieval.retrieval_scores(a, b)
    csls = retrieval.top_k_accuracy(a, b, metric="csls")
    return {name: float(getattr(found, name)) for name in SCORES} | {"top_1_csls": float(csls)}


def run(embedded, ids, source, target, seed, *, control, clusters=CLUSTERS, held_out=HELD_OUT, **options):
    """All numbers of one run, by name."""
    key = jax.random.fold_in(jax.random.key(seed), sorted(ENCODERS).index(source) * 10 + sorted(ENCODERS).index(target))
    for_split, for_turn, for_map, for_random, for_wrong, for_shuffle = jax.random.split(key, 6)
    mine, theirs, judge = align.split_disjoint(ids, key=for_split, held_out=held_out)
    plain = jnp.asarray(embedded[target])
    turned, _ = align.rotate(plain, key=for_turn)
    x = jnp.asarray(embedded[source])
    m = align.unpaired_align(x[mine], turned[theirs], key=for_map, clusters=clusters, **options)
    numbers = judged(*m.centered(x[judge], turned[judge]))
    oracle = align.procrustes(x[theirs], turned[theirs])
    numbers |= {f"oracle_{name}": value for name, value in judged(*oracle.centered(x[judge], turned[judge])).items()}
    a = x[judge] - x[mine].mean(0)[None]
    b, b_plain = (z[judge] - z[theirs].mean(0)[None] for z in (turned, plain))
    top_1 = retrieval.top_k_accuracy
    third = next(name for name in ENCODERS if name not in (source, target))
    numbers |= {
        "identity": float(top_1(fitted(a, b), b)),
        "identity_unturned": float(top_1(fitted(a, b), b_plain)),
        "random": float(top_1(align.rotate(fitted(a, b), key=for_random)[0], b)),
        "wrong_model": float(align.wrong_model(m, embedded[third][judge], turned[judge], key=for_wrong)),
        "score": float(m.score),
        "floor": float(m.history["floor"]),
        "chosen": int(m.history["clusters"][m.history["chosen"]]),
        "candidates": np.asarray(m.history["scores"]),
    }
    if control:
        broken = align.column_shuffled(turned[theirs], key=for_shuffle)
        nothing = align.unpaired_align(x[mine], broken, key=for_map, clusters=clusters[0], **options)
        numbers["shuffled"] = float(align.must_fail(nothing, x[judge], turned[judge]))
    return numbers


def build(*, seeds, folder, parts, rows=None, some=None, **options):
    """Run what `parts` does not hold yet, then write results and card into `folder`, and return the arrays."""
    embedded, ids = texts(rows)
    some = pairs() if some is None else some
    clusters = options.get("clusters", CLUSTERS)
    parts.mkdir(parents=True, exist_ok=True)
    found = {}
    for (source, target), seed in itertools.product(some, range(seeds)):
        part = parts / f"{source}-{target}-{seed}.npz"
        if not part.exists():
            numbers = run(embedded, ids, source, target, seed, control=seed == 0, **options)
            replace_file(part, lambda out, numbers=numbers: np.savez(out, **numbers))
        with np.load(part) as archive:
            found[source, target, seed] = {name: archive[name] for name in archive.files}
        got = found[source, target, seed]
        print(f"{source} to {target}, seed {seed}: top-1 {got['top_1']:.3f}, clusters {got['chosen']}", flush=True)
    names = [name for name in found[*some[0], 1 if seeds > 1 else 0] if name != "shuffled"]
    arrays = {
        "source": np.array([source for source, _ in some]),
        "target": np.array([target for _, target in some]),
        "seeds": np.arange(seeds),
        "tuned": np.array([pair in TUNED for pair in some]),
        "clusters": np.array(clusters),
        "shuffled": np.array([found[*pair, 0]["shuffled"] for pair in some], np.float32),
    }
    for name in names:
        values = np.array([[found[*pair, seed][name] for seed in range(seeds)] for pair in some])
        arrays[name] = values if name == "chosen" else values.astype(np.float32)
    record(
        arrays,
        name="runs_unpaired",
        file="runs/unpaired.npz",
        what=f"Scores of maps between text encoders fitted without a pair of texts: {len(some)} ordered pairs, seeds 0 "
        f"to {seeds - 1}, {options.get('held_out', HELD_OUT)} held-out definitions, the paired oracle and controls",
        source="fitted by the builder on glosses and glosses_more",
        version=f"jax {jax.__version__}",
        licence="MIT, as this repository",
        notices=[],
        builder="data/build/unpaired.py",
        folder=folder,
    )
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--parts", type=Path, required=True, help="folder that keeps what is finished")
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    build(seeds=args.seeds, folder=args.out, parts=args.parts)
