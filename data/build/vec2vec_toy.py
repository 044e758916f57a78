"""Train vec2vec on a toy with each of its losses left out and keep how well it translates: runs/vec2vec_toy.npz.

The toy: points of six clusters of unequal size and shape in three dimensions, seen by two encoders as unit rows of 8
and of 10 features. The two sides get different points; 300 more, seen by both, judge. Every seed draws new points, and
starts networks and critics anew; the world is always the same. Arrays, for ablations x seeds unless said otherwise:

    ablations   (ablations,) what is left out; "round world" leaves nothing out, but its points have no clusters
    weights     (ablations, 6) of the losses, in the order of `vec2vec.TERMS`
    seeds       (seeds,)
    cosine      mean cosine of a translated row to the true one, from the first space to the second
    top_1       share of the translated rows whose nearest row is the true one
    losses      (ablations, seeds, 7) each term of `vec2vec.TERMS`, mean of the last 200 steps

It takes some CPU minutes.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from cards import DATA, record

from repgeo import retrieval
from repgeo.align import vec2vec

SEEDS, STEPS = 6, 3000
FULL = vec2vec.Weights(geometry=10)
TOY = vec2vec.Settings(width=32, batch=128, warmup=100, rate=1e-3, critic_rate=1e-3, weights=FULL)
ABLATIONS = {
    "nothing": {},
    "reconstruction": {"reconstruction": 0},
    "geometry": {"geometry": 0},
    "cycle": {"cycle": 0},
    "cycle geometry": {"cycle_geometry": 0},
    "both geometries": {"geometry": 0, "cycle_geometry": 0},
    "output critics": {"adversarial": 0},
    "latent critic": {"latent": 0},
    "all critics": {"adversarial": 0, "latent": 0},
}


def seen_by_two(seed, *, clusters=6, n=2000, judges=300):
    """Unit rows of one sample (n, 8), of another (n, 10), and of a third seen by both; no clusters with 0."""
    world = np.random.default_rng(0)
    centres, shares = world.standard_normal((6, 3)), world.dirichlet(3 * np.ones(6))
    shapes = world.standard_normal((6, 3, 3)) / 4
    first, second = (np.linalg.qr(world.standard_normal((p, 3)))[0].T for p in (8, 10))

    def points(count, key):
        random = np.random.default_rng(key)
        if not clusters:
            return random.standard_normal((count, 3))
        kind = random.choice(6, count, p=shares)
        return centres[kind] + np.einsum("nij,nj->ni", shapes[kind], random.standard_normal((count, 3)))

    def unit(z):
        return jnp.asarray(z / np.linalg.norm(z, axis=1, keepdims=True), jnp.float32)

    x, y, both = (points(count, 3 * seed + i) for i, count in ((1, n), (2, n), (3, judges)))
    return unit(x @ first), unit(y @ second), unit(both @ first), unit(both @ second)


def run(seed, weights, *, clusters=6, steps=STEPS, settings=TOY, **sizes):
    """Cosine, top-1 and last losses of one training."""
    x, y, here, there = seen_by_two(seed, clusters=clusters, **sizes)
    found = vec2vec.fit(x, y, key=jax.random.key(seed), steps=steps, every=steps,
                        settings=replace(settings, weights=weights))  # fmt: skip
    translated = found.translate(here, source="x", target="y")
    top_1 = retrieval.top_k_accuracy(translated, there)
    return float((translated * there).sum(1).mean()), float(top_1), np.asarray(found.losses[-200:].mean(0))


def build(*, seeds, folder, steps=STEPS, settings=TOY, ablations=ABLATIONS, **sizes):
    """Train every ablation from every seed, write results and card into `folder`, and return the arrays."""
    cases = [(name, replace(FULL, **left_out), 6) for name, left_out in ablations.items()]
    cases.append(("round world", FULL, 0))
    found = []
    for name, weights, clusters in cases:
        runs = [run(seed, weights, clusters=clusters, steps=steps, settings=settings, **sizes)
                for seed in range(seeds)]
        found.append(runs)
        print(f"without {name}: cosines {[round(one[0], 3) for one in runs]}", flush=True)
    arrays = {
        "ablations": np.array([name for name, *_ in cases]),
        "weights": np.array([list(asdict(weights).values()) for _, weights, _ in cases], np.float32),
        "seeds": np.arange(seeds),
        "cosine": np.array([[one[0] for one in runs] for runs in found], np.float32),
        "top_1": np.array([[one[1] for one in runs] for runs in found], np.float32),
        "losses": np.array([[one[2] for one in runs] for runs in found], np.float32),
    }
    record(
        arrays,
        name="runs_vec2vec_toy",
        file="runs/vec2vec_toy.npz",
        what=f"How well vec2vec translates a toy with each of its losses left out, seeds 0 to {seeds - 1}",
        source="trained by the builder on made-up points",
        version=f"jax {jax.__version__}",
        licence="MIT, as this repository",
        notices=[],
        builder="data/build/vec2vec_toy.py",
        folder=folder,
        training={"steps": steps, **{k: v for k, v in asdict(settings).items() if k != "weights"}},
    )
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    build(seeds=args.seeds, steps=args.steps, folder=args.out)
