"""`python -m repgeo.book run | build | readme`: execute the notebooks, make the pages, refresh the README."""

import argparse
import sys
from pathlib import Path

from repgeo.book.execute import run
from repgeo.book.headers import refreshed
from repgeo.book.pages import build
from repgeo.book.verdicts import verdicts

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "notebooks"
SPEEDS = ROOT / "tests" / "benchmarks" / "measured.json"


def main(arguments: list[str] | None = None) -> int:
    """Exit status of one command: 0 when all went well, otherwise 1 after one line for each fault."""
    parser = argparse.ArgumentParser(prog="python -m repgeo.book", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    running = commands.add_parser("run", help="execute notebooks into OUT/notebooks, their claims into OUT/claims")
    running.add_argument("names", nargs="*", help="stems or numbers of notebooks; all of them when left out")
    running.add_argument("--out", type=Path, default=ROOT / "build")
    running.add_argument("--inplace", action="store_true", help="rewrite notebooks/ and its ledger instead")

    building = commands.add_parser("build", help="one page per notebook and a front page")
    building.add_argument("--notebooks", type=Path, default=ROOT / "build" / "notebooks")
    building.add_argument("--claims", type=Path, default=ROOT / "build" / "claims")
    building.add_argument("--out", type=Path, default=ROOT / "build")
    building.add_argument("--speeds", type=Path, default=SPEEDS, help="what the benchmarks wrote")
    building.add_argument("--quiet", action="store_true", help="leave what is missing to the pages to say")
    building.add_argument("--sources", type=Path, default=SOURCES, help="lists notebooks that did not run")

    commands.add_parser("readme", help="make README.md's table and figure of the notebooks anew")
    chosen = parser.parse_args(arguments)

    try:
        if chosen.command == "run":
            return _run(chosen)
        if chosen.command == "build":
            folders = {"notebooks": chosen.notebooks, "claims": chosen.claims, "out": chosen.out}
            said = build(**folders, sources=chosen.sources, speeds=chosen.speeds)
            if said and not chosen.quiet:
                print(*said, sep="\n", file=sys.stderr)
            return 0
        readme = ROOT / "README.md"
        readme.write_text(refreshed(readme.read_text(encoding="utf-8"), SOURCES), encoding="utf-8")
        (SOURCES / "claims" / "verdicts.svg").write_text(verdicts(SOURCES), encoding="utf-8")
        return 0
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1


def _run(chosen: argparse.Namespace) -> int:
    sources = sorted(SOURCES.glob("*.ipynb"))
    unknown = [n for n in chosen.names if not any(n in (s.stem, s.stem.split("_")[0]) for s in sources)]
    if unknown:
        raise ValueError(f"no notebook {', '.join(unknown)}; there are {', '.join(s.stem for s in sources)}")
    if chosen.names:
        sources = [s for s in sources if s.stem in chosen.names or s.stem.split("_")[0] in chosen.names]
    failures = run(
        sources,
        out=SOURCES if chosen.inplace else chosen.out / "notebooks",
        ledger=(SOURCES if chosen.inplace else chosen.out) / "claims",
        logs=chosen.out / "logs",
        roots=[ROOT / "repgeo", ROOT / "data"],
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
