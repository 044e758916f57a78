"""`repgeo compare A B`, `repgeo inspect A`: embedding files in, one page that reads offline out."""

import argparse
import os
import sys

from repgeo.book.launch import compiler_flags


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when the report is written, 2 after one line on what is wrong with an input, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="repgeo",
        description=__doc__,
        epilog="Files: .npy .npz .safetensors .csv .tsv .parquet .arrow .feather .h5ad .h5, and folders saved by the "
        "datasets library. Where a file holds several matrices, name one: file.npz::key, file.h5ad::obsm/X_pca.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    two = commands.add_parser("compare", help="two embedding files of the same samples")
    two.add_argument("a", metavar="A")
    two.add_argument("b", metavar="B")
    one = commands.add_parser("inspect", help="one embedding file")
    one.add_argument("a", metavar="A")
    two.add_argument(
        "--ids",
        nargs="+",
        metavar="ID",
        help="column that names the rows in both files, or one column or file for each; rows are then matched by it",
    )
    for command in (two, one):
        command.add_argument("--labels", metavar="L", help="a column of A, or a file with one class for each row of A")
        command.add_argument(
            "--out", default="repgeo-report", metavar="DIR", help="folder for report.html and report.json (%(default)s)"
        )
        command.add_argument("--rows", type=int, metavar="N", help="look at a random sample of at most N rows (20000)")
        command.add_argument("--seed", type=int, default=0, metavar="S", help="of samples and shuffles (%(default)s)")
        command.add_argument("--quiet", action="store_true", help="no progress bar")
    chosen = parser.parse_args(arguments)
    try:
        if "numpy" not in sys.modules:  # XLA already runs in all cores; a second pool of threads fights it
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            os.environ["XLA_FLAGS"] = compiler_flags(os.environ.get("XLA_FLAGS", ""))
        from repgeo import report  # here, so that --help waits for nothing

        options = {
            "labels": chosen.labels,
            "out": chosen.out,
            "rows": chosen.rows,
            "seed": chosen.seed,
            "progress": not chosen.quiet,
        }
        if chosen.command == "compare":
            report.compare(chosen.a, chosen.b, ids=chosen.ids, **options)
        else:
            report.inspect(chosen.a, **options)
    except KeyboardInterrupt:
        print("repgeo: interrupted; nothing was written", file=sys.stderr)
        return 130
    except (ValueError, OSError, MemoryError) as error:
        print(f"repgeo: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2
    print(f"{chosen.out}/report.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
