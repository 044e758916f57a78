"""Train the networks whose layers are frozen on the way, for notebook 01: `python data/build/freeze.py`.

Writes runs/freeze.npz and its card. Four ways to train `nets.CNN`, each from the same seeds, which fix the
initialisation and the order of the training images:

    ways       (4,) "whole": every layer to the end; "bottom-up": `nets.freezing_schedule`; "top-down": the same
               stops dealt out from the head down; "shorter": every layer, for as many operations as "bottom-up"
    accuracy   (4, seeds) on the 2000 test images, after the last step
    loss       (4, seeds) on the 10000 training images, after the last step
    seeds      (seeds,)
    steps      (4,) training steps
    until      (4, layers + 1) after how many steps each layer, and last the head, was frozen
    flops      (4,) operations of one training, counted by `nets.training_flops`

It takes some CPU minutes, fewest with one thread.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
import optax
from cards import DATA, record

from repgeo import datasets, nets

TRAINING = {"batch": 64, "learning_rate": 3e-3}
NET, STEPS, SEEDS = nets.CNN, 1500, 20


def plans(steps):
    """{way: (steps, until)} of the four trainings."""
    layers = len(NET.layers) + 1
    stops = nets.freezing_schedule(NET, steps)
    cost = nets.training_flops(NET, steps=steps, until=stops) / nets.training_flops(NET, steps=steps)
    shorter = max(1, round(steps * cost))
    whole = (steps, (steps,) * layers)
    ways = {"whole": whole, "bottom-up": (steps, stops), "top-down": (steps, stops[::-1])}
    return ways | {"shorter": (shorter, (shorter,) * layers)}


def build(*, seeds, steps, folder):
    """Train `seeds` networks in each of the four ways, write results and card into `folder`, return the arrays."""
    fashion = datasets.load("fashion_mnist")
    images, test_images = nets.prepare(fashion["images"], fashion["test_images"])
    labels, test_labels = fashion["labels"], fashion["test_labels"]

    def mean_loss(params):
        scores = np.concatenate([nets.apply(params, NET, images[i : i + 1000]) for i in range(0, len(images), 1000)])
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels.astype(int)).mean()

    ways = plans(steps)
    accuracy, loss = np.zeros((2, len(ways), seeds), np.float32)
    for i, (way, (length, until)) in enumerate(ways.items()):
        for seed in range(seeds):
            run = nets.train(jax.random.key(seed), NET, images, labels, steps=length, until=until, **TRAINING)
            accuracy[i, seed] = nets.accuracy(run.params, NET, test_images, test_labels)
            loss[i, seed] = mean_loss(run.params)
            print(f"{way}, seed {seed}: test accuracy {accuracy[i, seed]:.4f}", flush=True)
    arrays = {
        "ways": np.array(list(ways)),
        "accuracy": accuracy,
        "loss": loss,
        "seeds": np.arange(seeds),
        "steps": np.array([length for length, _ in ways.values()]),
        "until": np.array([until for _, until in ways.values()]),
        "flops": np.array([nets.training_flops(NET, steps=s, until=until) for s, until in ways.values()]),
    }
    record(
        arrays,
        name="runs_freeze",
        file="runs/freeze.npz",
        what=f"Test accuracy and training loss of `nets.{NET.name.upper()}` on Fashion-MNIST, trained whole, frozen "
        f"bottom-up, frozen top-down and trained for fewer steps, each from seeds 0 to {seeds - 1}",
        source="trained by the builder on fashion_mnist",
        version=f"jax {jax.__version__}, optax {optax.__version__}",
        licence="MIT, as this repository",
        notices=[],
        builder="data/build/freeze.py",
        folder=folder,
        training=TRAINING | {"steps": steps},
    )
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    build(seeds=args.seeds, steps=args.steps, folder=args.out)
