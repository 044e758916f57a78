"""Train the networks that notebook 01 compares and keep their weights: `python data/build/runs.py`.

Writes one file a network (runs/cnn.npz, runs/mlp.npz, runs/narrow.npz), each with its card:

    weights         (seeds, parameters) float16 after the last step, read with `repgeo.nets.saved`
    seeds           (seeds,) every one makes its own initialisation and order of the training images
    accuracy        (seeds,) on the 2000 test images, of the weights as stored
    early           (early seeds, early steps, parameters) float16, on the way there, of the first seeds
    early_steps     (early steps,) training steps done so far; 0 is the initialisation
    early_accuracy  (early seeds, early steps)

The last three only of the CNN, for how its layers converge.

Weights are kept, not activations: a forward pass makes these again in a second. The card says what rounding the
weights to float16 cost. It takes some CPU minutes, fewest with one thread.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np
import optax
from cards import DATA, read_cards, record, replace_file

from repgeo import datasets, nets

TRAINING = {"batch": 64, "learning_rate": 3e-3}
STEPS = 1500
EARLY_STEPS, EARLY_SEEDS = (0, 15, 50, 150, 500), 5
# Disclosed on the card, since layer identification is what notebook 01 measures on these networks.
CHOSEN = (
    "widths, strides and steps were chosen among ten settings by how well linear CKA finds corresponding layers "
    "on test images 0 to 999 (pooled activations: 71.7 to 96.7 %); judge that claim on test images 1000 to 1999"
)
PLANS = {"cnn": (nets.CNN, EARLY_STEPS), "mlp": (nets.MLP, ()), "narrow": (nets.NARROW, ())}
PROBE = 1000  # test images on which the cost of float16 is measured


def build(name, *, seeds, steps, folder):
    """Train `seeds` networks of the plan `name`, write their weights and card into `folder`, return the arrays."""
    net, early = PLANS[name]
    fashion = datasets.load("fashion_mnist")
    images, test_images = nets.prepare(fashion["images"], fashion["test_images"])
    labels, test_labels = fashion["labels"], fashion["test_labels"]
    early = tuple(step for step in early if step < steps)
    rows = {"weights": [], "accuracy": [], "early": [], "early_accuracy": []}
    rounding, cost = [], []

    def keep(params, weights, accuracy):
        weights.append(nets.pack(params))
        stored = nets.unpack(weights[-1], net)
        accuracy.append(nets.accuracy(stored, net, test_images, test_labels))
        return stored

    for seed in range(seeds):
        at = early if seed < EARLY_SEEDS else ()
        run = nets.train(jax.random.key(seed), net, images, labels, steps=steps, snapshots=at, **TRAINING)
        stored = keep(run.params, rows["weights"], rows["accuracy"])
        for step in at:
            keep(run.snapshots[step], rows["early"], rows["early_accuracy"])
        cost.append(rows["accuracy"][-1] - nets.accuracy(run.params, net, test_images, test_labels))
        exact, rounded = (nets.activations(p, net, test_images[:PROBE]) for p in (run.params, stored))
        rounding.append([np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(exact, rounded, strict=True)])
        print(f"{name}, seed {seed}: test accuracy {rows['accuracy'][-1]:.4f}", flush=True)
    final = np.array(rows["accuracy"], np.float32)
    arrays = {"weights": np.array(rows["weights"]), "seeds": np.arange(seeds), "accuracy": final}
    if early:
        grid = (-1, len(early))
        arrays |= {"early": np.array(rows["early"]).reshape(*grid, arrays["weights"].shape[1])}
        arrays |= {"early_steps": np.array(early)}
        arrays |= {"early_accuracy": np.array(rows["early_accuracy"], np.float32).reshape(grid)}
    record(
        arrays,
        name=f"runs_{name}",
        file=f"runs/{name}.npz",
        what=f"Weights of {seeds} networks `nets.{name.upper()}` trained on Fashion-MNIST, from seeds 0 to {seeds - 1}",
        source="trained by the builder on fashion_mnist",
        version=f"jax {jax.__version__}, optax {optax.__version__}",
        licence="MIT, as this repository",
        notices=[],
        builder="data/build/runs.py",
        folder=folder,
    )
    details = ({"chosen": CHOSEN} if name == "cnn" else {}) | {
        "training": TRAINING | {"steps": steps},
        "test_accuracy": {"mean": float(final.mean()), "low": float(final.min()), "high": float(final.max())},
        "float16": {
            "largest_relative_difference_of_a_layer": float(np.max(rounding)),
            "largest_accuracy_change": float(np.abs(cost).max()),
        },
    }
    annotate(f"runs_{name}", details, folder)
    return arrays


def annotate(name, details, folder):
    """Add to the card `name` what only this builder knows of it."""
    cards = read_cards(folder)
    cards[name] |= json.loads(json.dumps(details), parse_float=lambda text: float(f"{float(text):.4g}"))
    text = json.dumps(cards, indent=1, ensure_ascii=False) + "\n"
    replace_file(Path(folder) / "cards.json", lambda out: out.write(text.encode()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--only", choices=PLANS, nargs="+", default=list(PLANS))
    args = parser.parse_args()
    for name in args.only:
        build(name, seeds=args.seeds, steps=args.steps, folder=args.out)
