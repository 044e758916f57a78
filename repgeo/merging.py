"""How many features does a layer need? Units that read and write alike are merged until none are alike enough.

Iterative feature merging and the feature complexity of Chen, Zhou and Yan 2023, for the networks of `nets`. Shapes
change with every merge, so all of this runs on the host, in float64, and not under `jit`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from repgeo import checks, nets
from repgeo.nets import Net


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Merged:
    """A smaller network and where its units come from; `nets.apply(merged.params, merged.net, images)` runs it.

    groups: one integer array (p,) a layer, the unit of the merged layer into which each of the p old units went.
    """

    params: dict
    net: Net = field(metadata={"static": True})
    groups: tuple[np.ndarray, ...]

    @property
    def complexity(self) -> tuple[int, ...]:
        """The number of features left in each layer."""
        return tuple(layer.width for layer in self.net.layers)


def merge_features(params: dict, net: Net, *, threshold: float) -> Merged:
    """The network left when the most similar two units of each layer are merged until none are similar enough.

    The squared Euclidean distance of two units is taken over all that they read (incoming weights and bias, batch
    norm folded into them by `fold_norm`) and write (outgoing weights); no data are needed. A merged unit reads the
    mean of what its members read and writes the sum of what they write. It is compared by the means of both, times
    the harmonic mean of the two numbers of members, as in Ward's clustering. A layer goes on while its smallest
    distance is at most `threshold`, in [0, 1], times the largest between two of its units at the start (the beta of
    the paper); in every round each such layer merges one pair. Copies of a unit that share its outgoing weights
    equally are at distance 0, however many: merging them leaves the function as it is.

    The widths left are the `complexity`. O(p^2 d) a merge of p units with d weights: a second or two for a network of
    `nets`. Raises TypeError for traced parameters, ValueError for parameters of another network or not finite, and
    for `threshold` outside [0, 1]. Source: Chen, Zhou and Yan 2023; their code adds up what is read and averages what
    is written, to a ReLU the same, compares these as they are, and takes the largest distance of the moment.

    >>> net = Net("twice", (nets.Dense(2),), image=(1, 1), classes=1)
    >>> copies = {"weight": jnp.ones((1, 2)), "bias": jnp.zeros(2)}
    >>> head = {"weight": jnp.ones((2, 1)), "bias": jnp.zeros(1)}
    >>> merge_features({"layers": [copies], "head": head}, net, threshold=0.0).complexity
    (1,)
    """
    threshold = checks.real(threshold, "threshold", low=0, high=1)
    reads = _read(params, net)
    single = [(np.arange(layer.width), np.ones(layer.width)) for layer in net.layers]
    largest = [_distances(reads, i, *units).max() for i, units in enumerate(single)]

    def closest_if_close(layer, distances):
        i, j = _closest(distances)
        return (i, j) if distances[i, j] <= threshold * largest[layer] else None

    return _compact(net, *_merge(params, net, closest_if_close))


def merge_to(params: dict, net: Net, *, widths: Sequence[int], key: Array | None = None) -> Merged:
    """The network merged down to the given widths, most similar pairs first; with a `key`, random pairs: the control.

    widths: for each layer, how many units it keeps, from 1 to all. Pairs, merged units, cost and errors are those of
    `merge_features`; a random pair is drawn uniformly from the units that are left. TypeError for a width that is not
    an integer, ValueError for one out of range or another number of them.

    >>> net = Net("tiny", (nets.Dense(3), nets.Dense(2)), image=(2, 2), classes=2)
    >>> params = nets.init(jax.random.key(0), net)
    >>> merge_to(params, net, widths=(2, 2), key=jax.random.key(0)).complexity
    (2, 2)
    """
    return _compact(net, *_merge(params, net, _down_to(net, widths, key)))


def accuracy_curve(
    params: dict, net: Net, images, labels, *, shares: Sequence[float], key: Array | None = None, batch: int = 500
) -> np.ndarray:
    """Accuracy (len(shares),) on images and labels when every layer keeps these shares of its units, rounded up.

    shares: numbers in (0, 1]; 1 is the network as it is. Without `key` the most similar units are merged, with it
    random ones, which is the control: what is lost by merging as such. Each point is `merge_to` from the start; all
    run through one compiled program, a merged unit's place being filled with zeros. Errors as `merge_to` and
    `nets.accuracy`; ValueError for a share outside (0, 1].

    >>> net = Net("tiny", (nets.Dense(4),), image=(2, 2), classes=1)
    >>> params = nets.init(jax.random.key(0), net)
    >>> accuracy_curve(params, net, jnp.ones((3, 2, 2)), [0, 0, 0], shares=(1.0, 0.5)).tolist()
    [1.0, 1.0]
    """
    curve = []
    for share in shares:
        share = checks.real(share, "shares", low=0, high=1, open_low=True)
        widths = [int(np.ceil(share * layer.width)) for layer in net.layers]
        merged, _ = _merge(params, net, _down_to(net, widths, key))
        curve.append(nets.accuracy(merged, _plain(net), images, labels, batch=batch))
    return np.array(curve)


def fold_norm(params: dict, net: Net) -> tuple[dict, Net]:
    """The same function without batch norm: gain, mean and variance moved into the weights and biases, float32.

    Returns parameters and a `Net` whose layers have norm=False. Batch norm is taken as at inference, with the stored
    mean and variance. Errors as `merge_features`.

    >>> net = Net("tiny", (nets.Dense(4, norm=True),), image=(2, 2))
    >>> params, plain = fold_norm(nets.init(jax.random.key(0), net), net)
    >>> sorted(params["layers"][0]), plain.layers[0].norm
    (['bias', 'weight'], False)
    """
    return _written(_read(params, net)), _plain(net)


def _merge(params: dict, net: Net, choose: Callable) -> tuple[dict, list[np.ndarray]]:
    """Parameters after merging, zeros in the places of merged units, and the place into which each unit went.

    `choose(layer, distances)` names two of the units that are left, or None where the layer shall not go on.
    """
    reads = _read(params, net)
    groups = [np.arange(layer.width) for layer in net.layers]

    def step(layer: int) -> bool:
        live, sizes = np.unique(groups[layer], return_counts=True)
        pair = choose(layer, _distances(reads, layer, live, sizes)) if len(live) > 1 else None
        if pair is None:
            return False
        (i, j), (m, n) = live[list(pair)], sizes[list(pair)]
        reads[layer][:, i] += (reads[layer][:, j] - reads[layer][:, i]) * (n / (m + n))
        reads[layer][:, j] = 0
        writes = _writes(reads, layer)
        writes[:, i] += writes[:, j]
        writes[:, j] = 0
        groups[layer][groups[layer] == j] = i
        return True

    while any([step(layer) for layer in range(len(groups))]):  # a list: every layer has its turn in a round
        pass
    return _written(reads), groups


def _down_to(net: Net, widths: Sequence[int], key: Array | None) -> Callable:
    if len(widths) != len(net.layers):
        raise ValueError(f"widths: expected one for each of {len(net.layers)} layers; got {len(widths)}")
    widths = [
        checks.count(width, "widths", low=1, high=layer.width, why=f"units of layer {i}")
        for i, (width, layer) in enumerate(zip(widths, net.layers, strict=True))
    ]
    draws = None if key is None else np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())

    def choose(layer, distances):
        p = len(distances)
        if p <= widths[layer]:
            return None
        return _closest(distances) if draws is None else tuple(draws.choice(p, 2, replace=False))

    return choose


def _writes(reads: list[np.ndarray], layer: int) -> np.ndarray:
    """A view of what comes after a layer: (positions, units of the layer, next units)."""
    after = reads[layer + 1]
    return after[:-1].reshape(-1, reads[layer].shape[1], after.shape[1])


def _distances(reads: list[np.ndarray], layer: int, live: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Ward distances of the live units, by the means of what their members read and write; mere rounding is 0."""
    mean_writes = _writes(reads, layer)[:, live] / sizes[:, None]
    features = np.concatenate([reads[layer][:, live], np.moveaxis(mean_writes, 1, 2).reshape(-1, len(live))])
    products = features.T @ features
    sums = np.add.outer(np.diagonal(products), np.diagonal(products))
    distances = sums - 2 * products
    weights = 2 / np.add.outer(1 / sizes, 1 / sizes)
    return weights * np.where(distances > 1e-12 * sums, distances, 0)


def _closest(distances: np.ndarray) -> tuple[int, int]:
    above = np.where(np.triu(np.ones(distances.shape, bool), 1), distances, np.inf)
    i, j = np.unravel_index(above.argmin(), above.shape)
    return int(i), int(j)


def _read(params: dict, net: Net) -> list[np.ndarray]:
    """What each layer and the head read, in float64: weights (d, p) above a row of biases, batch norm folded in."""
    leaves = jax.tree.leaves(params)
    if not all(map(checks.is_concrete, leaves)):
        raise TypeError("params: merging changes shapes and cannot be traced; call it on concrete arrays")
    image = jax.ShapeDtypeStruct((1, *net.image), jnp.float32)
    jax.eval_shape(lambda p, x: nets.apply(p, net, x), params, image)  # raises where params are not those of net
    if not all(np.isfinite(leaf).all() for leaf in leaves):
        raise ValueError("params: expected finite numbers; got NaN or infinity")
    reads = []
    for p in [*params["layers"], params["head"]]:
        p = {name: np.asarray(value, np.float64) for name, value in p.items()}
        slope = p["gain"] / np.sqrt(p["var"] + 1e-5) if "gain" in p else np.ones_like(p["bias"])
        reads.append(np.vstack([p["weight"] * slope, p["bias"] - p.get("mean", 0) * slope]))
    return reads


def _written(reads: list[np.ndarray]) -> dict:
    *layers, head = ({"weight": jnp.float32(a[:-1]), "bias": jnp.float32(a[-1])} for a in reads)
    return {"layers": layers, "head": head}


def _plain(net: Net, widths: Sequence[int] | None = None) -> Net:
    widths = [layer.width for layer in net.layers] if widths is None else widths
    layers = (replace(layer, width=w, norm=False) for layer, w in zip(net.layers, widths, strict=True))
    return replace(net, layers=tuple(layers))


def _compact(net: Net, params: dict, groups: list[np.ndarray]) -> Merged:
    """The network without the empty places."""
    live, numbers = zip(*(np.unique(group, return_inverse=True) for group in groups), strict=True)
    parts = [*params["layers"], params["head"]]
    for i, kept in enumerate(live):
        after = parts[i + 1]["weight"]
        after = after.reshape(-1, len(groups[i]), after.shape[1])[:, kept].reshape(-1, after.shape[1])
        parts[i] = {"weight": parts[i]["weight"][:, kept], "bias": parts[i]["bias"][kept]}
        parts[i + 1] = parts[i + 1] | {"weight": after}
    *layers, head = parts
    return Merged({"layers": layers, "head": head}, _plain(net, [len(kept) for kept in live]), tuple(numbers))
