"""The wheel: it holds every file that is read at run time, and its commands work from another folder."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from running_machine import free_port, start_up

PROJECT = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "neurontune_core", "deployments")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools")
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(made)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (file,) = made.glob("*.whl")
    return file


def test_the_wheel_holds_every_file_of_the_packages_and_the_deployments(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    kept = {
        file.relative_to(PROJECT).as_posix()
        for package in PACKAGES[:3]
        for file in (PROJECT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert kept <= names
    assert {name for name in names if name.startswith("deployments/")} == {"deployments/prefect.yaml"}
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/")) for name in names)


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """`neurontune` of a fresh environment: the project is there as the wheel alone, beside this one's dependencies."""
    place = tmp_path_factory.mktemp("bare") / "environment"
    venv.create(place, symlinks=True)
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python")]
    subprocess.run([*pip, "install", *options, str(wheel)], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    # one folder is added to the path; the links in it, of which one leads to this project, are not followed
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return str(place / "bin" / "neurontune")


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The variables of a shell in an empty folder, which is the home of its user."""
    (tmp_path / "elsewhere").mkdir()
    mine = ("PREFECT_", "MLFLOW_", "NEURONTUNE_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {"HOME": str(tmp_path / "elsewhere")}


def test_run_and_export_work_from_an_empty_folder(command: str, elsewhere: dict[str, str]) -> None:
    def told(*words: str) -> str:
        done = subprocess.run(
            [command, *words], cwd=elsewhere["HOME"], env=elsewhere, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    python = str(Path(command).with_name("python"))
    where = [python, "-c", "import flows, tasks, neurontune_core as core; print(flows, tasks, core)"]
    found = subprocess.run(where, cwd=elsewhere["HOME"], env=elsewhere, capture_output=True, text=True, check=True)
    assert str(PROJECT) not in found.stdout and found.stdout.count(str(Path(command).parents[1])) == 3
    assert "tiny" in told("presets")
    told("run", "--preset", "tiny", "--set", "runtime.device=cpu")
    told("export", "latest", "--to", "tuned")
    assert Path(elsewhere["HOME"], "tuned", "model.safetensors").is_file()


def test_up_starts_and_ends_from_an_empty_folder(command: str, elsewhere: dict[str, str]) -> None:
    ports = ["--port", str(free_port()), "--mlflow-port", str(free_port())]
    process, lines = start_up([command, "up", *ports], elsewhere)
    try:
        said = Path(elsewhere["HOME"], "stderr").read_text()
        assert lines and lines[-1].startswith("Ctrl-C"), said[-2000:]
        (deployments,) = [line for line in lines if line.startswith("deployments")]
        assert "neurontune" in deployments and "study" in deployments, "what `up` registers comes with the wheel"
    finally:
        process.send_signal(signal.SIGINT)
        ended = process.wait(timeout=120)
    assert ended == 130
