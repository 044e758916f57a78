"""Let pairs of vocabularies align themselves by `self_learning_map` and keep how it went: runs/vocabularies.npz.

Each run draws 700 rows a side at random, of which a `share` are the same things; the others lie on one side only. The
target is turned at random and its rows are in another order. Other rows, on neither side, judge the map. Arrays, for
settings x seeds unless said otherwise:

    source, target  (settings,) names of the vectors: glove50 and glove100 of `words`, the others of `glosses`;
                    glove100_shuffled has each column of glove100 in an order of its own, the control
    share           (settings,) of the rows of a side that also lie on the other
    seeds           (seeds,)
    top_1           by CSLS, of the map on the 1000 rows that judge
    first           the same after one step from the start
    oracle          the same of Procrustes on all 700 rows of the source with their true partners
    objective       (settings, seeds, most) mean cosine to the nearest row over both ways, NaN after the last step
    keep            (settings, seeds, most) share of the similarities that a step may use
    steps           how many there were

It takes some CPU minutes.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from cards import DATA, record

from repgeo import align, datasets, retrieval

SETTINGS = (
    ("glove100", "glove100", 0.25),
    *(("glove50", "glove100", share) for share in (1.0, 0.5, 0.25, 0.1, 0.0)),
    ("glove50", "glove100_shuffled", 1.0),
    ("minilm_l6", "use_m3", 1.0),
)
SEEDS, ROWS, JUDGES, AMONG = 5, 700, 1000, 4000
LEARNING = {"patience": 10, "most": 300}


def vectors(among=AMONG):
    """{name: (among, p)} of the commonest words, and of as many definitions."""
    words, glosses = datasets.load("words"), datasets.load("glosses")
    common = np.argsort(words["rank"])[:among]
    found = {name: words[name][common] for name in ("glove50", "glove100")}
    found["glove100_shuffled"] = np.asarray(align.column_shuffled(found["glove100"], key=jax.random.key(0)))
    return found | {name: glosses[name][:among] for name in ("minilm_l6", "use_m3")}


def drawn(x, y, share, key, *, rows=ROWS, judges=JUDGES):
    """Rows of x, rows of y turned and in another order, and of both, in the same order, those that judge.

    Also which rows of y, all of them turned, belong to those of x: what an oracle knows.
    """
    for_rows, for_order, for_turn = jax.random.split(key, 3)
    order = np.asarray(jax.random.permutation(for_rows, len(x)))
    judge, mine, spare = np.split(order[: judges + 2 * rows], [judges, judges + rows])
    common = round(share * rows)
    theirs = np.asarray(jax.random.permutation(for_order, np.concatenate([mine[:common], spare[common:]])))
    turned, _ = align.rotate(jnp.asarray(y), key=for_turn)
    x = jnp.asarray(x)
    return x[mine], turned[theirs], (x[judge], turned[judge]), turned[mine]


def run(x, y, share, key, *, rows=ROWS, judges=JUDGES, **learning):
    """All numbers of one run, by name."""
    a, b, judge, partners = drawn(x, y, share, key, rows=rows, judges=judges)
    learning = LEARNING | learning

    def judged(m):
        return float(retrieval.top_k_accuracy(*m.centered(*judge), metric="csls"))

    m = align.self_learning_map(a, b, key=key, **learning)
    return {
        "top_1": judged(m),
        "first": judged(align.self_learning_map(a, b, key=key, **learning | {"most": 1})),
        "oracle": judged(align.procrustes(a, partners)),
        "objective": np.asarray(m.history["objective"]),
        "keep": np.asarray(m.history["keep"]),
        "steps": int(m.history["steps"]),
    }


def build(*, seeds, folder, settings=SETTINGS, given=None, **options):
    """Run every setting from every seed, write results and card into `folder`, and return the arrays."""
    given, found = vectors() if given is None else given, []
    for source, target, share in settings:
        found.append([run(given[source], given[target], share, jax.random.key(seed), **options)
                      for seed in range(seeds)])
        print(f"{source} to {target}, {share:.0%} shared: top-1 {[round(one['top_1'], 3) for one in found[-1]]}",
              flush=True)
    arrays = {
        "source": np.array([source for source, _, _ in settings]),
        "target": np.array([target for _, target, _ in settings]),
        "share": np.array([share for *_, share in settings], np.float32),
        "seeds": np.arange(seeds),
    }
    for name in found[0][0]:
        values = np.array([[one[name] for one in runs] for runs in found])
        arrays[name] = values if name == "steps" else values.astype(np.float16 if values.ndim == 3 else np.float32)
    record(
        arrays,
        name="runs_vocabularies",
        file="runs/vocabularies.npz",
        what=f"How vocabularies of {options.get('rows', ROWS)} rows aligned themselves: {len(settings)} pairs of "
        f"vectors and shares of common rows, seeds 0 to {seeds - 1}",
        source="fitted by the builder on words and glosses",
        version=f"jax {jax.__version__}",
        licence="MIT, as this repository",
        notices=[],
        builder="data/build/vocabularies.py",
        folder=folder,
    )
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    build(seeds=args.seeds, folder=args.out)
