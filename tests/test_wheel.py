"""The wheel: it holds every file that is read at run time, and its commands work from another folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

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


def test_commands_of_the_wheel_work_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """Unpacked beside the dependencies of this environment, in place of the project's own folder."""
    ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(tmp_path / "site")

    def told(*words: str) -> str:
        code = "import sys; from flows.commands.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *words],
            cwd=tmp_path / "elsewhere",
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    place = ["--set", f"runtime.root={tmp_path / 'root'}"]
    assert "tiny" in told("presets")
    told("run", "--preset", "tiny", "--set", "runtime.device=cpu", *place)
    told("export", "latest", "--to", "tuned", *place)
    assert (tmp_path / "elsewhere" / "tuned" / "model.safetensors").is_file()
    find = "from flows.services.work_pools import DEPLOYMENTS; print(DEPLOYMENTS.is_file(), DEPLOYMENTS)"
    found = subprocess.run(
        [sys.executable, "-P", "-c", find], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith(f"True {tmp_path / 'site'}"), "what `up` registers comes with the wheel"
