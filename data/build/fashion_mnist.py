"""Build fashion_mnist.npz: the first images of Fashion-MNIST's train and test files, with labels.

Needs the Debian package `dataset-fashion-mnist`, or the four upstream .gz files in a folder (`--source`).
"""

import argparse
import gzip
from pathlib import Path

import cards
import numpy as np

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
CLASSES += ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
TYPES = {8: np.uint8}  # the idx format's type codes; Fashion-MNIST uses this one only


def read_idx(path):
    """An idx file: two zero bytes, type code, number of axes, the axes as big-endian uint32, the values."""
    raw = gzip.decompress(Path(path).read_bytes())
    if raw[:2] != b"\0\0" or raw[2] not in TYPES:
        raise ValueError(f"{path} is not an idx file of bytes: it begins with {raw[:4]!r}")
    shape = np.frombuffer(raw, ">u4", count=raw[3], offset=4)
    return np.frombuffer(raw, TYPES[raw[2]], offset=4 + 4 * raw[3]).reshape(shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="training images (default 10000)")
    parser.add_argument("--test-rows", type=int, default=2_000, help="test images (default 2000)")
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, default=cards.DATA, help="folder for the file and its card")
    args = parser.parse_args()
    arrays = {
        "images": read_idx(args.source / "train-images-idx3-ubyte.gz")[: args.rows],
        "labels": read_idx(args.source / "train-labels-idx1-ubyte.gz")[: args.rows],
        "test_images": read_idx(args.source / "t10k-images-idx3-ubyte.gz")[: args.test_rows],
        "test_labels": read_idx(args.source / "t10k-labels-idx1-ubyte.gz")[: args.test_rows],
        "classes": np.array(CLASSES),
    }
    cards.record(
        arrays,
        name="fashion_mnist",
        what=f"Fashion-MNIST: the first {args.rows} training and {args.test_rows} test images, 28 x 28 grey "
        "values 0..255, with class 0..9 (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747)",
        source="Debian dataset-fashion-mnist",
        version="0.0~git20200523.55506a9-1",
        licence="MIT (Expat), Zalando SE",
        notices=["fashion-mnist.txt"],
        builder="data/build/fashion_mnist.py",
        folder=args.out,
    )


if __name__ == "__main__":
    main()
