"""Does the frame hold: one list of dependencies, two commands, a light import, a README that is true?"""

import contextlib
import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement

import repgeo
from repgeo.book import launch
from repgeo.book.headers import refreshed
from repgeo.book.launch import cache_folder, compiler_flags, settings

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("python", ["3.11.9", "3.12.4", "3.13.1"])
@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *sum(EXTRAS.values(), [])])
def test_every_dependency_has_one_pin_that_its_specifier_allows(line, python):
    wanted = Requirement(line)
    place = default_environment() | {"python_version": python[:4], "python_full_version": python}
    held = [
        pin
        for pin in pins()
        if canonical(pin.name) == canonical(wanted.name) and (not pin.marker or pin.marker.evaluate(place))
    ]
    assert len(held) == 1, f"{wanted.name} has {len(held)} pins for Python {python}: `make constraints`"
    (version,) = re.findall(r"^==(\S+)$", str(held[0].specifier))
    assert wanted.specifier.contains(version, prereleases=True), f"{held[0]} is outside {wanted}"


def test_the_conda_environment_follows_from_the_project_file():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert listed["name"] == PROJECT["name"]
    plain = {re.split(r"[<>=]", d)[0]: Requirement(d) for d in listed["dependencies"] if isinstance(d, str)}
    assert set(plain) == {"python", "pip"}
    assert str(plain["python"].specifier) == PROJECT["requires-python"]
    ((line,),) = (d["pip"] for d in listed["dependencies"] if isinstance(d, dict))
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", line)[1].split(",")
    assert set(extras) == {"notebooks", "test"} <= set(EXTRAS)


@pytest.mark.parametrize("name", ["pyproject.toml", "environment.yml", "constraints.txt"])
def test_no_dependency_names_a_host(name):
    assert "://" not in (ROOT / name).read_text()


def test_each_dependency_says_what_it_is_for():
    text = (ROOT / "pyproject.toml").read_text()
    for line in re.findall(r'^ {4}"\w[\w-]*[<>=].*$', text, flags=re.MULTILINE):
        assert re.search(r'",\s+# \w', line), line


_FAMILIES = r"BSD|MIT|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|Zlib|CC0|BSL|HPND"


def licence(name):
    """What a package says its licence is, in its expression, its classifiers or its text."""
    about = importlib.metadata.metadata(name)
    classified = [c.split(" :: ")[-1] for c in about.get_all("Classifier", []) if c.startswith("License ::")]
    return about.get("License-Expression") or ", ".join(classified) or (about.get("License") or "").split("\n")[0]


def test_every_package_that_is_installed_allows_what_we_do_with_it():
    found = {}
    for pin in pins():
        try:
            found[pin.name] = licence(pin.name)
        except importlib.metadata.PackageNotFoundError:
            continue  # pinned for another system or Python
    assert len(found) > 100
    unusual = {name: said for name, said in found.items() if not re.search(_FAMILIES, said)}
    assert set(unusual) <= {"gensim"}, f"licences to look at, and to name in the README: {unusual}"
    assert "gensim" in README and "LGPL" in README


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_the_code_and_the_notebooks_pass_the_linter():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_repgeo_imports_nothing_heavy_besides_jax():
    heavy = [
        "matplotlib",
        "seaborn",
        "IPython",
        "jupyter_client",
        "sklearn",
        "optax",
        "scipy.stats",
        "torch",
        "pandas",
    ]
    names = [name for names in repgeo._AT_THE_FRONT.values() for name in names.split()]
    found = f"[name for name in {heavy} if name in sys.modules]"
    code = f"import sys, repgeo; [getattr(repgeo, name) for name in {names}]; print(*{found})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_a_room_is_loaded_when_it_is_asked_for():
    loaded = "[f'repgeo.{room}' in sys.modules for room in ('neighbors', 'similarity')]"
    code = f"import sys, repgeo; repgeo.knn; print(*{loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("name", repgeo.__all__)
def test_a_name_at_the_front_is_a_room_or_comes_from_its_room(name):
    found = getattr(repgeo, name)
    place = f"repgeo.{repgeo._HOME[name]}" if name in repgeo._HOME else f"repgeo.{name}"
    assert (found.__module__ if name in repgeo._HOME else found.__name__).startswith(place)
    assert name in dir(repgeo)


def test_a_name_that_repgeo_lacks_is_named():
    with pytest.raises(AttributeError, match="'repgeo' has no attribute 'ckka'"):
        _ = repgeo.ckka


def test_importing_every_name_of_repgeo_changes_no_setting():
    code = (
        "import os, jax; before = dict(os.environ), dict(jax.config.values)\n"
        "import repgeo; [getattr(repgeo, name) for name in dir(repgeo)]\n"
        "print((dict(os.environ), dict(jax.config.values)) == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["True"]


def test_the_readme_gives_the_two_commands_and_ci_runs_the_second():
    commands = re.findall(r"^make \w+$", README, flags=re.MULTILINE)
    assert commands == ["make notebooks", "make test"]
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"notebooks", "test", "outputs", "benchmarks"} <= set(targets)


def test_the_example_in_the_readme_prints_what_it_says():
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    promised = re.findall(r"^print\(.*\)\s+# (.+)$", block, flags=re.MULTILINE)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(block, "README.md", "exec"), {})
    assert promised and said.getvalue().splitlines() == promised


def test_the_table_in_the_readme_is_the_one_the_notebooks_give():
    assert refreshed(README, ROOT / "notebooks") == README, "run `python -m repgeo.book readme`"


def test_the_settings_name_a_cache_for_this_jaxlib_and_never_another(tmp_path):
    chosen = settings(tmp_path)
    folder = Path(chosen["JAX_COMPILATION_CACHE_DIR"])
    assert folder.is_dir() and folder.parent == tmp_path
    assert f"py{sys.version_info.major}.{sys.version_info.minor}" in folder.name
    assert all(isinstance(value, str) for value in chosen.values())


def test_a_cache_that_cannot_be_written_is_left_out(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert cache_folder(tmp_path / "file") is None
    assert "JAX_COMPILATION_CACHE_DIR" not in settings(tmp_path / "file")


def test_a_command_is_started_with_the_settings_and_keeps_those_of_the_caller(tmp_path):
    command = [sys.executable, str(ROOT / "repgeo" / "book" / "launch.py")]
    names = "OPENBLAS_NUM_THREADS", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
    show = f"import os; print(*map(os.environ.get, {names}))"
    for mine, seen in (({}, "1 0"), ({"OPENBLAS_NUM_THREADS": "3"}, "3 0")):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS", "JAX_"))}
        done = subprocess.run([*command, sys.executable, "-c", show], env=clean | mine, capture_output=True, text=True)
        assert done.stdout.strip() == seen, done.stderr


def test_xla_knows_the_flags_and_the_callers_own_come_last():
    own = "--xla_cpu_multi_thread_eigen=false"
    flags = compiler_flags(own)
    assert flags.endswith(own)
    environment = os.environ | {"XLA_FLAGS": flags}
    code = "import jax; print(float(jax.numpy.arange(4.0).sum()))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "6.0", done.stderr


@pytest.mark.parametrize("jaxlib", ["0.9.2", "0.12.0", None])
def test_another_line_of_jaxlib_gets_no_flag_that_it_may_not_know(monkeypatch, jaxlib):
    def installed(name):
        if jaxlib is None:
            raise launch.PackageNotFoundError(name)
        return jaxlib

    monkeypatch.setattr(launch, "version", installed)
    assert compiler_flags() == "" and compiler_flags("--own") == "--own"


@pytest.mark.skipif(not shutil.which("make"), reason="for machines without make the README has plain lines")
@pytest.mark.parametrize(
    "interpreters, expected", [({}, "found none"), ({"python3": "3.9.18"}, r"found python3 \(3\.9\.18\)")]
)
def test_make_says_in_one_line_that_python_is_too_old(tmp_path, interpreters, expected):
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "find", "grep", "make", "mkdir", "rm", "touch"):
        (tools / tool).symlink_to(shutil.which(tool))
    for name, version in interpreters.items():
        (tools / name).write_text(f"#!{shutil.which('bash')}\necho {version}; exit 1\n")
        (tools / name).chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    place = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        ["make", "test"], cwd=tmp_path, env=place | {"PATH": str(tools)}, capture_output=True, text=True
    )
    own = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0 and len(own) == 1, done.stderr
    assert re.search(f"needs Python 3.11 or newer.*{expected}", own[0]), own
