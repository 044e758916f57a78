"""Training, whole or with layers that are frozen on the way, and what it costs in floating-point operations."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from repgeo import checks
from repgeo.nets.forward import Conv, Net, as_images, as_labels, calibrate, forward, init, widths


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Run:
    """What `train` returns: final parameters, parameters after the requested steps, the loss at each step."""

    params: dict
    snapshots: dict[int, dict]
    losses: Array


def train(
    key: Array, net: Net, images, labels, *, steps: int, batch: int = 64, learning_rate: float = 3e-3, snapshots=(),
    until=None,
) -> Run:
    """A `Run` of `net`, from `init(key, net)`, trained on images (n, h, w) with integer labels (n,).

    Adam on the cross-entropy, the rate rising for a tenth of the steps to `learning_rate` and falling to 0 by
    a cosine; every epoch is a new permutation, its incomplete last batch left out. `snapshots` lists steps in
    [0, steps] whose parameters are kept (0: before any training). All parameters in the result are calibrated
    on the first 2000 images. `until`, such as `freezing_schedule` makes, freezes each layer and last the head after
    so many steps, in [0, steps]: its weights, gains and biases then stay as they are. The same arguments give the
    same parameters on one machine with one number of threads; elsewhere rounding differs and grows over the steps.
    One compiled loop serves all seeds, snapshots and schedules (train seeds in a Python loop) and is compiled anew
    when shapes, steps or rate change. Raises ValueError or TypeError for images or labels that do not fit `net`,
    batch > n, steps < 1, snapshots or `until` outside [0, steps], and when the loss becomes NaN.

    >>> from repgeo.nets import Dense
    >>> net = Net("tiny", (Dense(4),), image=(2, 2), classes=2)
    >>> images = jnp.ones((8, 2, 2)) * jnp.arange(8.0).reshape(-1, 1, 1)
    >>> run = train(jax.random.key(0), net, images, [0, 1] * 4, steps=3, batch=4, snapshots=(0, 3))
    >>> run.losses.shape, sorted(run.snapshots)
    ((3,), [0, 3])
    """
    images = as_images(images, net)
    labels = as_labels(labels, net, len(images))
    steps = checks.count(steps, "steps", low=1, high=10**7)
    batch = checks.count(batch, "batch", low=1, high=len(images), why="at most one epoch")
    rate = checks.real(learning_rate, "learning_rate", low=0, open_low=True)
    stops = sorted({checks.count(step, "snapshots", low=0, high=steps) for step in snapshots} | {steps})
    until = until if until is None else jnp.asarray(_until(until, net, steps))
    params = init(key, net)
    order = _order(jax.random.fold_in(key, 1), len(images), batch, steps)
    state = (params, _optimiser(rate, steps).init(params), jnp.zeros(steps))
    seen, done = {}, 0
    for stop in stops:
        state = _advance(net, rate, state, (done, stop), images, labels, order, until)
        seen[stop] = calibrate(state[0], net, images[:2000])
        done = stop
    if not np.isfinite(np.asarray(state[2])).all():
        raise ValueError(f"the loss is not finite any more: lower learning_rate; got {learning_rate}")
    return Run(seen[steps], {step: seen[step] for step in snapshots}, state[2])


def freezing_schedule(net: Net, steps: int) -> tuple[int, ...]:
    """After how many of `steps` each layer, and last the head, is frozen: linear, from the bottom up.

    Layer i of l layers stops after the share i / (l + 1) of the steps, rounded; the head, counted as the last, is
    trained to the end. Raises TypeError or ValueError for steps that are not a positive integer. Source: Raghu et
    al. 2017, freeze training, the linear of its schedules.

    >>> from repgeo.nets import CNN
    >>> freezing_schedule(CNN, 600)
    (100, 200, 300, 400, 500, 600)
    """
    steps = checks.count(steps, "steps", low=1, high=10**7)
    stages = len(net.layers) + 1
    return tuple(round(steps * i / stages) for i in range(1, stages + 1))


def training_flops(net: Net, *, steps: int, batch: int = 64, until=None) -> int:
    """Floating-point operations of `train` with these arguments, counted: two for each multiply-add of a product.

    A layer's product costs the same three times over: forward, for the gradient of its weights, and for the
    gradient of its input. The second falls away while the layer is frozen (`until` as in `train`), the third while
    everything below it is. So freezing from the bottom saves twice and freezing from the top once. Batch norm, ReLU
    and optimiser are left out: a few in a hundred. Errors as in `train`.

    >>> from repgeo.nets import CNN
    >>> whole = training_flops(CNN, steps=600)
    >>> round(training_flops(CNN, steps=600, until=freezing_schedule(CNN, 600)) / whole, 3)
    0.61
    """
    steps = checks.count(steps, "steps", low=1, high=10**7)
    batch = checks.count(batch, "batch", low=1, high=10**7)
    until = np.full(len(net.layers) + 1, steps) if until is None else _until(until, net, steps)
    forward = _product_flops(net)
    trained_below = np.maximum.accumulate(np.concatenate([[0], until[:-1]]))  # steps in which something below learns
    products = steps + until + trained_below  # forward, for the weights, for the input
    return batch * sum(f * int(count) for f, count in zip(forward, products, strict=True))


def _product_flops(net: Net) -> list[int]:
    """Operations of each layer's matrix product, and the head's, forward and for one image."""
    before, found = (*net.image, 1), []
    for layer, shape in zip(net.layers, widths(net), strict=True):
        fan_in = 9 * before[2] if isinstance(layer, Conv) else int(np.prod(before))
        found.append(2 * fan_in * int(np.prod(shape)))
        before = shape
    return [*found, 2 * before[-1] * net.classes]


def _until(until, net: Net, steps: int) -> np.ndarray:
    stops = [checks.count(step, "until", low=0, high=steps) for step in until]
    if len(stops) != len(net.layers) + 1:
        raise ValueError(f"until: expected one number for each of {len(net.layers)} layers, and the head; got {stops}")
    return np.array(stops)


def _held(updates: dict, learning: Array) -> dict:
    """The updates, 0 for every layer (and last the head) that is no longer `learning`."""
    parts = [jax.tree.map(lambda u, on=on: jnp.where(on, u, 0), part)
             for part, on in zip([*updates["layers"], updates["head"]], learning, strict=True)]
    return {"layers": parts[:-1], "head": parts[-1]}


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _order(key: Array, n: int, batch: int, steps: int) -> Array:
    """The rows of each step's batch, (steps, batch)."""
    whole = n // batch
    epochs = jax.lax.map(lambda k: jax.random.permutation(k, n), jax.random.split(key, -(-steps // whole)))
    return epochs[:, : whole * batch].reshape(-1, batch)[:steps]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _advance(net: Net, rate: float, state, span, images, labels, order, until):
    """Parameters, optimiser state and losses after the steps span[0] to span[1] (traced: one compilation)."""
    optimiser = _optimiser(rate, len(order))

    def loss(params, rows):
        scores = forward(params, net, images[rows], True)[0]
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels[rows]).mean()

    def step(i, state):
        params, moments, losses = state
        value, gradient = jax.value_and_grad(loss)(params, order[i])
        updates, moments = optimiser.update(gradient, moments, params)
        if until is not None:  # a traced schedule: one program serves them all
            updates = _held(updates, i < until)
        return optax.apply_updates(params, updates), moments, losses.at[i].set(value)

    return jax.lax.fori_loop(*span, step, state)


def _optimiser(rate: float, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.warmup_cosine_decay_schedule(rate / 10, rate, steps // 10, steps))
