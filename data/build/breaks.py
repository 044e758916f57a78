"""Take away, one by one, what alignment without pairs needs, and keep what is left of it: runs/breaks.npz.

A run is `unpaired_align` from one text encoder to another, on a small plan (4000 texts a side, one number of clusters),
with no text on both sides and the target turned at random. 2048 other texts, of all topics, judge the map, and an
attacker who knows topics of the target's texts names those of the judges from their mapped rows. Each case changes
one thing. Arrays, cases x seeds unless said otherwise:

    kind, value     (cases,) what is changed, and to what
    seeds           (seeds,)
    top_1           of the map on the texts that judge
    oracle          the same of Procrustes on the true pairs of the target's texts
    score, floor    criterion of the map, and what a random start reaches by scouting
    margin          of the best candidate over the floor
    found           share of topics that the attacker names rightly from mapped rows
    found_oracle    the same by the oracle's map, found_native from the true rows of the target, found_untranslated
                    from rows cut or padded to its width, found_turned the same where the target is turned
    nearest         share of mapped rows whose nearest text of the attacker has their topic, likewise nearest_oracle
                    and nearest_native
    wrong_model     top_1 of a third encoder's rows sent through the map, and found_wrong the topics read from them
    majority        share of the commonest topic; NaN, like all since `found`, where rows are words

Every finished run lies in `--parts`, from where an interrupted build goes on. It takes a quarter of a CPU hour.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from cards import DATA, record, replace_file

from repgeo import align, datasets, probes, retrieval

SEEDS, HELD_OUT, TEXTS = 5, 2048, 4000
FEWER = {"nouns, verbs": 1000, "topics apart": 2000}  # texts a side, where a side has no 4000
ATTACKS = ("found", "found_oracle", "found_native", "found_untranslated", "found_turned", "found_wrong", "nearest",
           "nearest_oracle", "nearest_native", "wrong_model", "majority")  # fmt: skip
PLAN = {"clusters": 40, "runs": 15, "scout": 10, "coarse": 20, "fine": 5, "width": 128}
BASE, THIRD = ("potion8m", "minilm_l6"), "wordllama"
CASES = (
    ("nothing", ""),
    *(("clusters", c) for c in (5, 20)),
    *(("texts", n) for n in (500, 1000, 2000)),
    *(("content", what) for what in ("nouns, verbs", "nouns, all", "topics apart")),
    *(("spectrum", power) for power in (0.0, 0.5, 2.0)),
    ("both spectra", 0.0),
    ("encoders", "minilm_l6 to use_m3"),
    ("words", "glove50 to glove100"),
)


def texts():
    """{name: (n, p)}, topics (n,) by number, and whether each of them is one of nouns."""
    files = [datasets.load("glosses"), datasets.load("glosses_more")]
    found = {name: np.concatenate([file[name] for file in files]) for name in (*BASE, "use_m3", THIRD)}
    names, topics = np.unique(np.concatenate([f["classes"][f["labels"]] for f in files]), return_inverse=True)
    words = datasets.load("words")
    common = np.argsort(words["rank"])[: len(topics)]
    found |= {name: words[name][common] for name in ("glove50", "glove100")}
    return found, topics, np.char.startswith(names.astype(str), "noun")


def steeper(y, power):
    """Rows of y (n, q) whose singular values, about the mean, are taken to this power: 0 makes them equal."""
    mean = y.mean(0)
    u, s, vt = np.linalg.svd(y - mean, full_matrices=False)
    return (u * (s / s[0]) ** power @ vt + mean).astype(np.float32)


def apart(kind, value, mine, theirs, topics, noun, key):
    """The rows of either side that the case leaves."""
    if kind != "content":
        return mine, theirs
    if value == "topics apart":
        order = np.asarray(jax.random.permutation(key, topics.max() + 1))
        own = np.isin(topics, order[::2])
        return mine[own[mine]], theirs[~own[theirs]]
    mine = mine[noun[topics[mine]]]
    return mine, theirs if value == "nouns, all" else theirs[~noun[topics[theirs]]]


def unit(z):
    return z / jnp.linalg.norm(z, axis=1, keepdims=True)


def fitted(z, width):
    """Rows of z (n, p) cut or padded with zeros to this width."""
    return jnp.pad(z[:, :width], ((0, 0), (0, max(0, width - z.shape[1]))))


def run(embedded, topics, noun, kind, value, seed, *, held_out=HELD_OUT, most=TEXTS, plan=PLAN):
    """All numbers of one run, by name."""
    key = jax.random.fold_in(jax.random.key(7), seed)
    for_split, for_turn, for_map, for_topics = jax.random.split(key, 4)
    source, target = value.split(" to ") if kind in ("encoders", "words") else BASE
    mine, theirs, judge = align.split_disjoint(np.arange(len(topics)), key=for_split, held_out=held_out)
    mine, theirs = apart(kind, value, mine, theirs, topics, noun, for_topics)
    size = min(value if kind == "texts" else FEWER.get(value, most), len(mine), len(theirs))
    mine, theirs = mine[:size], theirs[:size]
    plan = plan | ({"clusters": value} if kind == "clusters" else {})
    x, y = embedded[source], embedded[target]
    x = steeper(x, value) if kind == "both spectra" else x
    y = steeper(y, value) if kind in ("spectrum", "both spectra") else y
    x, plain = jnp.asarray(x), jnp.asarray(y)
    turned, _ = align.rotate(plain, key=for_turn)
    m = align.unpaired_align(x[mine], turned[theirs], key=for_map, **plan)
    oracle = align.procrustes(x[theirs], turned[theirs])
    numbers = {name: float(retrieval.top_k_accuracy(*one.centered(x[judge], turned[judge])))
               for name, one in (("top_1", m), ("oracle", oracle))}
    numbers |= {"score": float(m.score), **{name: float(m.history[name]) for name in ("floor", "margin")}}
    return numbers | attack(embedded, topics, kind, m, oracle, x, plain, turned, mine, theirs, judge, key)


def attack(embedded, topics, kind, m, oracle, x, plain, turned, mine, theirs, judge, key):
    """What an attacker with texts `theirs` reads of the rows that judge, by name; NaN of words, which have no topic."""
    if kind == "words":
        return dict.fromkeys(ATTACKS, np.nan)

    def reader(y):
        own = unit(y[theirs] - y[theirs].mean(0)[None])
        return probes.ridge(own, topics[theirs], classes=int(topics.max()) + 1, l2=0.1)

    head = reader(turned)
    mapped, native = m.centered(x[judge], turned[judge])
    by_oracle = oracle.centered(x[judge], turned[judge])[0]
    third, _ = align.rotate(embedded[THIRD][judge], key=jax.random.fold_in(key, 8))
    third = fitted(third - third.mean(0)[None], x.shape[1]) + m.mean_x[None]
    wrong = m.centered(third, turned[judge])[0]
    cut = fitted(x[judge] - x[mine].mean(0)[None], plain.shape[1])
    read = (("found", head, mapped), ("found_oracle", head, by_oracle), ("found_native", head, native),
            ("found_untranslated", reader(plain), cut), ("found_turned", head, cut),
            ("found_wrong", head, wrong))  # fmt: skip
    numbers = {name: float(probes.accuracy(one, unit(rows), topics[judge])) for name, one, rows in read}
    for name, rows in (("nearest", mapped), ("nearest_oracle", by_oracle), ("nearest_native", native)):
        _, nearest = retrieval.top_k(rows, turned[theirs] - turned[theirs].mean(0)[None], k=1)
        numbers[name] = float((topics[theirs][np.asarray(nearest)[:, 0]] == topics[judge]).mean())
    numbers["wrong_model"] = float(retrieval.top_k_accuracy(wrong, native))
    return numbers | {"majority": float(np.bincount(topics[judge]).max() / len(judge))}


def build(*, seeds, folder, parts, cases=CASES, given=None, **options):
    """Run what `parts` does not hold yet, then write results and card into `folder`, and return the arrays."""
    embedded, topics, noun = texts() if given is None else given
    parts.mkdir(parents=True, exist_ok=True)
    found = []
    for kind, value in cases:
        runs = []
        for seed in range(seeds):
            part = parts / f"{kind}-{value}-{seed}.npz".replace(" ", "_")
            if not part.exists():
                numbers = run(embedded, topics, noun, kind, value, seed, **options)
                replace_file(part, lambda out, numbers=numbers: np.savez(out, **numbers))
            with np.load(part) as archive:
                runs.append({name: archive[name] for name in archive.files})
        found.append(runs)
        print(f"{kind} {value}: top-1 {[round(float(one['top_1']), 3) for one in runs]}", flush=True)
    arrays = {
        "kind": np.array([kind for kind, _ in cases]),
        "value": np.array([str(value) for _, value in cases]),
        "seeds": np.arange(seeds),
    }
    for name in found[0][0]:
        arrays[name] = np.array([[one[name] for one in runs] for runs in found], np.float32)
    record(
        arrays,
        name="runs_breaks",
        file="runs/breaks.npz",
        what=f"What is left of alignment without pairs, and what an attacker reads, in {len(cases)} cases that each "
        f"change one thing, seeds 0 to {seeds - 1}",
        source="fitted by the builder on glosses, glosses_more and words",
        version=f"jax {jax.__version__}",
        licence="MIT, as this repository",
        notices=[],
        builder="data/build/breaks.py",
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
