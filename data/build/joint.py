"""Train the self-supervised networks whose ranks notebook 02 compares with probes: `python data/build/joint.py`.

Writes runs/ssl.npz with its card. Networks come in groups, one a loss and seed; a setting is a loss with weights, a
learning rate and a weight decay, and is the same for every seed:

    method       (settings,) "vicreg", "barlow_twins" or "simclr"
    weights      (settings, 3) of the loss, in the order of `WEIGHTS[method]`, then NaN
    learning_rate, weight_decay    (settings,)
    seeds        (seeds,) each makes its own initialisations, views and order of the images
    loss         (settings, seeds) mean over the last tenth of the steps
    accuracy     (settings, seeds, 3) on the 2000 test images, of the `probes`
    probes       (3,) "representation"; "representation, few labels", fitted to the first 200 images; "embedding"
    untrained    (settings, seeds, 3) the same before training
    pixels       (2,) the first two probes of the 196 pixels
    singular     (settings, seeds, p) of the representations of the first 2000 training images as they are, and of
    singular_centered              them minus their mean, descending, p = 256
    between, within, lidar         (settings, seeds, p) eigenvalues, descending, of the two scatter matrices of
                                   representations of 1000 objects x 10 views, and of within^-1/2 between within^-1/2
    *_embedding  the same five of the embeddings, p = 128

The objects are the first 1000 training images, their views those that training draws from, made once for all networks.
between = sum over objects i of (m_i - m)(m_i - m)^T / (objects - 1), m_i the mean of object i and m that of them
all; within = sum over objects and views of (x - m_i)(x - m_i)^T / (objects (views - 1)), + 1e-4 I for `lidar` alone.

The probe: ridge regression on the ten classes, columns standardised on the images it is fitted to (training images 0 to
7999), its penalty the one of `PENALTIES` that classifies training images 8000 to 9999 best, the larger of equals.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np
import optax
from cards import DATA, record

from repgeo import datasets, nets

NET = nets.JointNet(encoder=(256, 256), projector=(128, 128))
AUGMENT = nets.Augment(shift=1, flip=True, contrast=0.3, cutout=4, noise=0.2)
STEPS, BATCH, SEEDS = 1200, 128, 3
LOSSES = {"vicreg": nets.vicreg_loss, "barlow_twins": nets.barlow_twins_loss, "simclr": nets.simclr_loss}
# Weights of the losses and the powers of ten between which they are drawn.
WEIGHTS = {
    "vicreg": {"invariance": (0.0, 2.0), "variance": (0.0, 2.0), "covariance": (-1.0, 2.0)},
    "barlow_twins": {"off_diagonal": (-4.0, 0.0)},
    "simclr": {"temperature": (-1.3, 1.0)},
}
RATES = {"learning_rate": (-3.5, -2.3), "weight_decay": (-2.0, 0.7)}
EACH, DRAW = 16, 2  # settings of each loss, and the key that draws them
FIT, FEW, PENALTIES = 8000, 200, 10.0 ** np.arange(1, -7, -1)
SAMPLE, OBJECTS, VIEWS, RIDGE, VIEWS_KEY = 2000, 1000, 10, 1e-4, 5
PROBES = ("representation", "representation, few labels", "embedding")
# Disclosed on the card. The probe, its split and the ranges of the draw were fixed before the sweep ran.
CHOSEN = (
    "widths, batch, changes of a view and the ranges of learning rates and weights, by probe accuracies of two "
    "networks a loss, seed 99, in five trials (300 steps of batches of 256 with representations of 128 and stronger "
    "changes: 0.54 to 0.79; 800 and 1500 steps of 128 with representations of 256: 0.80 to 0.82; SimCLR alone with two "
    "other sets of changes: 0.80 to 0.82; pixels: 0.81; before training: 0.78 and 0.81), in which RankMe was printed "
    "too; steps by a sixth trial that printed accuracies alone, of three networks a loss, seed 99, on training images "
    "8000 to 9999 (600 steps: 0.79 to 0.82; 2500: 0.80 to 0.82; 6000, without SimCLR: 0.81 to 0.82; pixels: 0.79; "
    "before training: 0.81), and by cost; not a probe, split or penalty was changed after a look, and no draw was "
    "repeated"
)


def plan(each):
    """{method: {name: (each,) numbers}}: weights of the loss, learning rates and weight decays, log-uniform."""
    found = {}
    for i, (method, ranges) in enumerate(WEIGHTS.items()):
        rng = np.random.default_rng((DRAW, i))
        powers = np.array([rng.uniform(*span, EACH) for span in (ranges | RATES).values()])
        found[method] = dict(zip(ranges | RATES, (10.0**powers[:, :each]).astype(np.float32), strict=True))
    return found


def probe(x, test, labels, test_labels, *, fit):
    """Test accuracy of the ridge probe fitted to the first `fit` rows of x (n, p)."""
    mean, spread = x[:fit].mean(0), x[:fit].std(0)
    alive = spread > 1e-6 * np.abs(x[:fit]).max()  # a dead unit, and what rounding leaves of a collapsed one
    if not alive.any():
        return float((test_labels == np.bincount(labels[:fit]).argmax()).mean())
    x, test = ((a[:, alive] - mean[alive]) / spread[alive] for a in (x, test))
    target = np.eye(10)[labels[:fit]]
    values, vectors = np.linalg.eigh(x[:fit].T @ x[:fit])
    onto = vectors.T @ (x[:fit].T @ (target - target.mean(0)))
    judged, best = -1, None
    for penalty in PENALTIES:
        weight = vectors @ (onto / (np.maximum(values, 0) + penalty * fit)[:, None])
        right = ((x[FIT:] @ weight + target.mean(0)).argmax(1) == labels[FIT:]).mean()
        if right > judged:
            judged, best = right, weight
    return float(((test @ best + target.mean(0)).argmax(1) == test_labels).mean())


def scatters(x):
    """Eigenvalues of the between and within scatter of x (objects, views, p), and of LiDAR's matrix of the two."""
    n, q, p = x.shape
    means = x.mean(1)
    apart = means - means.mean(0)
    rest = (x - means[:, None]).reshape(-1, p)
    between, within = apart.T @ apart / (n - 1), rest.T @ rest / (n * (q - 1))
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(np.maximum(values, 0) + RIDGE)
    found = np.linalg.eigvalsh(between), values, np.linalg.eigvalsh(whiten.T @ between @ whiten)
    return dict(zip(("between", "within", "lidar"), (np.maximum(a, 0)[::-1] for a in found), strict=True))


def spectra(x, views):
    """All stored spectra of one layer: x (n, p) of the sample and views (objects, views, p), in float64."""
    plain, centred = (np.linalg.svd(a, compute_uv=False) for a in (x, x - x.mean(0)))
    return {"singular": plain, "singular_centered": centred} | scatters(views)


def score(params, images, test_images, labels, test_labels, views=None):
    """Probe accuracies of one network, and with `views` (objects, views, h, w) its spectra."""

    def both(a):
        return [np.asarray(part, float) for part in nets.embed(params, NET, a)]

    (h, z), (test_h, test_z) = both(images), both(test_images)
    known = (labels, test_labels)
    accuracy = [probe(h, test_h, *known, fit=FIT), probe(h, test_h, *known, fit=FEW), probe(z, test_z, *known, fit=FIT)]
    if views is None:
        return accuracy, {}
    of_views = [a.reshape(*views.shape[:2], -1) for a in both(views.reshape(-1, *NET.image))]
    own, other = (spectra(a[:SAMPLE], v) for a, v in zip((h, z), of_views, strict=True))
    return accuracy, own | {f"{name}_embedding": values for name, values in other.items()}


def train(method, numbers, seed, images, steps):
    """The networks of one loss and seed."""
    settings = {name: numbers[name] for name in WEIGHTS[method]}
    rates = {name: numbers[name] for name in RATES}
    # every loss has views and initialisations of its own
    key = jax.random.fold_in(jax.random.key(seed), list(WEIGHTS).index(method))
    options = {"loss": LOSSES[method], "settings": settings, "steps": steps, "batch": BATCH, "augment": AUGMENT}
    return key, nets.train_joint(key, NET, images, **options, **rates)


def fixed_views(images):
    """The views (objects, views, h, w) of LiDAR, the same for every network."""
    keys = jax.random.split(jax.random.key(VIEWS_KEY), VIEWS)
    return np.stack([nets.augmented(key, images[:OBJECTS], AUGMENT) for key in keys], 1)


def build(*, each, seeds, steps, folder):
    """Train `each` settings of every loss from `seeds` seeds, write scores and card, return the arrays."""
    fashion = datasets.load("fashion_mnist")
    images, test_images = nets.prepare(fashion["images"], fashion["test_images"])
    labels, test_labels = fashion["labels"].astype(int), fashion["test_labels"].astype(int)
    known, views, settings = (images, test_images, labels, test_labels), fixed_views(images), plan(each)
    cells, spent = {}, {"training": 0.0, "scores": 0.0}
    for seed in range(seeds):  # seeds outside: what is there after an interruption is whole
        for j, (method, numbers) in enumerate(settings.items()):
            begun = time.process_time()
            key, run = train(method, numbers, seed, images, steps)
            losses = np.asarray(run.losses)
            done = time.process_time()
            for i in range(each):
                accuracy, found = score(jax.tree.map(lambda a, i=i: a[i], run.params), *known, views)
                before, _ = score(nets.init_joint(jax.random.fold_in(key, i), NET), *known)
                last = losses[i, -max(1, steps // 10) :].mean()
                row = {"accuracy": accuracy, "untrained": before, "loss": last} | found
                cells[j * each + i, seed] = {name: np.asarray(value, np.float32) for name, value in row.items()}
                print(f"seed {seed}, {method} {i}: {np.round(accuracy, 4)}, before {np.round(before, 4)}", flush=True)
            spent["training"] += done - begun
            spent["scores"] += time.process_time() - done
            print(f"CPU seconds so far: {spent}", flush=True)
    total = each * len(settings)
    stored = {name: np.array([[cells[i, s][name] for s in range(seeds)] for i in range(total)]) for name in cells[0, 0]}
    weights = np.full((total, 3), np.nan, np.float32)
    for j, (method, numbers) in enumerate(settings.items()):
        for column, name in enumerate(WEIGHTS[method]):
            weights[j * each : (j + 1) * each, column] = numbers[name]
    flat, test_flat = (a.reshape(len(a), -1).astype(float) for a in (images, test_images))
    arrays = {
        "method": np.repeat(list(settings), each),
        "weights": weights,
        **{name: np.concatenate([numbers[name] for numbers in settings.values()]) for name in RATES},
        "seeds": np.arange(seeds),
        "probes": np.array(PROBES),
        "pixels": np.array([probe(flat, test_flat, labels, test_labels, fit=n) for n in (FIT, FEW)], np.float32),
        **stored,
    }
    record(
        arrays,
        name="runs_ssl",
        file="runs/ssl.npz",
        what=f"Probe accuracies, singular values and LiDAR's scatter eigenvalues of {total * seeds} self-supervised "
        f"networks trained on Fashion-MNIST with VICReg, Barlow Twins and SimCLR, {each} settings of each from seeds "
        f"0 to {seeds - 1}",
        source="trained by the builder on fashion_mnist",
        version=f"jax {jax.__version__}, optax {optax.__version__}, numpy {np.__version__}",
        licence="MIT, as this repository",
        notices=[],
        builder="data/build/joint.py",
        folder=folder,
        training={"steps": steps, "batch": BATCH, "encoder": list(NET.encoder), "projector": list(NET.projector)},
        augment={name: getattr(AUGMENT, name) for name in AUGMENT.__dataclass_fields__},
        drawn={"key": DRAW, "powers_of_ten": {name: RATES | ranges for name, ranges in WEIGHTS.items()}},
        chosen=CHOSEN,
        cpu_seconds={name: round(seconds) for name, seconds in spent.items()},
    )
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=EACH, help=f"settings of each loss, at most {EACH}")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=DATA)
    args = parser.parse_args()
    build(each=min(args.each, EACH), seeds=args.seeds, steps=args.steps, folder=args.out)
