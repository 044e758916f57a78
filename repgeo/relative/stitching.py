"""Zero-shot stitching: a head trained on one encoder reads another one, which it has never seen."""

from collections.abc import Callable, Sequence

import numpy as np
from jax import Array

from repgeo import checks, probes


def stitch_matrix(
    train: Sequence[Array],
    test: Sequence[Array],
    *,
    labels: Array,
    test_labels: Array,
    fit: Callable = probes.ridge,
    score: Callable = probes.accuracy,
) -> np.ndarray:
    """Scores (s, s): entry (i, j) is that of the head fitted on encoder i's training rows, on encoder j's test rows.

    `train` and `test` hold one matrix (n, m) an encoder, all of one width m: relative coordinates to the same anchors,
    or features, mapped or zero-padded, for the comparison. `labels` (n,) and `test_labels` are of the training and test
    rows. `fit(x, labels)` returns a head and `score(head, x, labels)` a number: any probe of `repgeo.probes` and
    `probes.accuracy`, unless given. The diagonal is what each encoder reaches by itself; off it lies what stitching
    costs. s fits and s^2 scores. Raises as `checks.matrix`; ValueError for different numbers of encoders, widths or
    rows. Source: Moschella et al. 2023, section 5.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(40, 2))
    >>> stitch_matrix([x, -x], [x, -x], labels=x[:, 0] > 0, test_labels=x[:, 0] > 0).round().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if len(train) != len(test) or not len(train):
        raise ValueError(f"train and test: expected one matrix an encoder in both; got {len(train)} and {len(test)}")
    train = [checks.matrix(x, f"train[{i}]") for i, x in enumerate(train)]
    test = [checks.matrix(x, f"test[{i}]", at_least=1, may_be_constant=True) for i, x in enumerate(test)]
    for name, matrices, given in (("train", train, labels), ("test", test, test_labels)):
        for i, x in enumerate(matrices):
            if x.shape != (len(given), train[0].shape[1]):
                raise ValueError(
                    f"{name}[{i}]: expected {len(given)} rows, one a label, of the width of train[0], "
                    f"{train[0].shape[1]}; got shape {x.shape}"
                )
    heads = [fit(x, labels) for x in train]
    return np.array([[float(score(head, x, test_labels)) for x in test] for head in heads])
