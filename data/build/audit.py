"""Train the networks on which notebook 16 tests the measures, and keep their weights: `python data/build/audit.py`.

Writes runs/audit.npz with its card. A group is a training set, a seed is an initialisation and an order of the
pictures; all networks of a group saw the same pictures with the same labels:

    clean        the first 2000 training images of fashion_mnist, as they are
    labels       a share (strength) of the labels replaced by random ones
    shortcut     two bright pixels whose place is the label in a share (strength) of the images, and random in the rest
    shift        twelve copies of each image, each moved by up to `strength` pixels

    weights      (networks, parameters) float16, read with `repgeo.nets.unpack`
    kind         (networks,) one of the four names above
    strength     (networks,)
    seeds        (networks,) every network has its own: none shares an initialisation with another
    accuracy     (networks,) on test images 0 to 999, in the group shortcut with marks at random places
    fitted       (networks,) accuracy on the network's own training images and labels

What was chosen, and by what: width, steps and learning rate, such that random labels are learnt by heart and marks
are used where they are the label, both looked at on training images and test images 0 to 999. No measure of
similarity was computed before the networks were final. It takes some five CPU minutes, fewest with one thread.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from cards import DATA, record

from repgeo import datasets, nets, worlds

NET = nets.Net("audit", tuple(nets.Conv(24, stride, True) for stride in (2, 2, 1, 2, 1)))
TRAINING = {"steps": 800, "batch": 64, "learning_rate": 3e-3}
IMAGES, COPIES, JUDGED = 2000, 12, 1000
GROUPS = {  # how many networks of each
    **{("labels", share): 5 for share in (1.0, 0.75, 0.5, 0.25)},
    **{("shortcut", share): 5 for share in (1.0, 0.75, 0.5, 0.25, 0.0)},
    **{("shift", reach): 5 for reach in (4.0, 3.0, 2.0, 1.0)},
    ("clean", 0.0): 25,
}
DATA_KEY = 16


def training_set(kind, strength, images, labels):
    """Images and labels (copies n, ...) of one group: the same for every seed, and in every group of one shape."""
    key = jax.random.fold_in(jax.random.key(DATA_KEY), round(100 * strength))
    if kind == "labels":
        labels = worlds.relabelled(key, labels, share=strength, c=10)
    if kind == "shortcut":
        images = worlds.marked(images, worlds.relabelled(key, labels, share=1 - strength, c=10))
    images, labels = np.tile(images, (COPIES, 1, 1)), np.tile(labels, COPIES)
    if kind == "shift":
        images = worlds.shifted(key, images, reach=int(strength))
    return np.asarray(images), np.asarray(labels)


def build(*, groups, steps, folder):
    """Train the networks of `groups` (kind, strength) -> number, write weights and card, return the arrays."""
    fashion = datasets.load("fashion_mnist")
    images, test_images = nets.prepare(fashion["images"], fashion["test_images"])
    images, labels = images[:IMAGES], fashion["labels"][:IMAGES].astype(np.int32)
    test_images, test_labels = test_images[:JUDGED], fashion["test_labels"][:JUDGED].astype(np.int32)
    strangers = worlds.relabelled(jax.random.key(DATA_KEY), test_labels, share=1.0, c=10)
    marked = np.asarray(worlds.marked(test_images, strangers))
    rows = {name: [] for name in ("weights", "kind", "strength", "seeds", "accuracy", "fitted")}
    rounding, cost = [], []
    for (kind, strength), count in groups.items():
        own_images, own_labels = training_set(kind, strength, images, labels)
        seen = marked if kind == "shortcut" else test_images
        for _ in range(count):
            seed = len(rows["seeds"])
            run = nets.train(jax.random.key(seed), NET, own_images, own_labels, **TRAINING | {"steps": steps})
            packed = nets.pack(run.params)
            stored = nets.unpack(packed, NET)
            values = (packed, kind, strength, seed, nets.accuracy(stored, NET, seen, test_labels),
                      nets.accuracy(stored, NET, own_images[:IMAGES], own_labels[:IMAGES]))  # fmt: skip
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
            cost.append(values[4] - nets.accuracy(run.params, NET, seen, test_labels))
            exact, rounded = (nets.activations(p, NET, seen) for p in (run.params, stored))
            rounding.append([np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(exact, rounded, strict=True)])
            print(f"{kind} {strength:g}, seed {seed}: fitted {values[5]:.3f}, test {values[4]:.3f}", flush=True)
    arrays = {name: np.array(values) for name, values in rows.items()}
    arrays |= {name: arrays[name].astype(np.float32) for name in ("strength", "accuracy", "fitted")}
    record(
        arrays,
        name="runs_audit",
        file="runs/audit.npz",
        what=f"Weights of {len(arrays['seeds'])} networks of five equally wide layers, trained on Fashion-MNIST as it "
        "is, with random labels, with a shortcut, or shifted",
        source="trained by the builder on fashion_mnist",
        version=f"jax {jax.__version__}",
        licence="MIT, as this repository",
        notices=[],
        builder="data/build/audit.py",
        folder=folder,
        chosen="width, steps and learning rate by training accuracy and by accuracy on test images 0 to 999; "
        "no measure of similarity was computed before the networks were final",
        training=TRAINING | {"steps": steps, "images": IMAGES, "copies": COPIES},
        float16={
            "largest_relative_difference_of_a_layer": float(f"{np.max(rounding):.3g}"),
            "largest_accuracy_change": float(f"{np.abs(cost).max():.3g}"),
        },
    )
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=TRAINING["steps"])
    parser.add_argument("--networks", type=int, help="at most so many of each group, for a try")
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    wanted = {group: min(count, args.networks or count) for group, count in GROUPS.items()}
    build(groups=wanted, steps=args.steps, folder=args.out)
