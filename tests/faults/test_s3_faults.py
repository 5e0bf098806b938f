"""A real S3 protocol with faults: requests that fail, answers that are cut, listings that are old, two machines."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import racer
from faulty_run import digests
from faulty_store import BUCKET, FaultyStore, serving

from flows.pipeline import pipeline
from neurontune_core import artifacts
from neurontune_core.config import PipelineConfig

EVERY, MANY, PATIENCE = 10, 40, 300


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyStore]:
    with serving() as store:
        yield store


@pytest.fixture
def store(server: FaultyStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultyStore]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    server.failed |= dict.fromkeys(server.failed, 0)
    yield server
    server.every, server.old_listings = 0, False


@pytest.fixture
def root(tmp_path: Path) -> str:
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def there(config: PipelineConfig, root: str, tmp_path: Path) -> PipelineConfig:
    """The configuration with its artifacts in the store."""
    mlflow = f"sqlite:///{tmp_path / 'root' / 'mlflow.db'}"
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"root": root, "mlflow_uri": mlflow})})


def undisturbed(tmp_path: Path) -> str:
    return artifacts.write(str(tmp_path / "local"), racer.STAGE, racer.KEY, racer.fill, {}).digest


def test_an_artifact_of_many_requests_is_made_though_every_tenth_fails(
    store: FaultyStore, root: str, tmp_path: Path
) -> None:
    def many(folder: Path) -> dict[str, int]:
        for number in range(MANY):
            (folder / f"part-{number}.bin").write_bytes(bytes([number]) * 1000)
        return {"rows": MANY}

    store.every = EVERY
    made = artifacts.write(root, racer.STAGE, racer.KEY, many, {})
    assert len(list(artifacts.open_folder(made).glob("part-*"))) == MANY
    assert all(store.failed.values()), store.failed
    assert made.digest == artifacts.write(str(tmp_path / "local"), racer.STAGE, racer.KEY, many, {}).digest


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_makes_the_same_files_though_every_tenth_request_fails(
    store: FaultyStore, config: PipelineConfig, there: PipelineConfig, core_calls: Counter[str]
) -> None:
    pipeline(config)
    before = Counter(core_calls)
    store.every = EVERY
    made = pipeline(there)
    assert all(store.failed.values()), store.failed
    assert core_calls - before == before, "each stage is computed once"
    calls = Counter(core_calls)
    assert pipeline(there).keys() == made.keys() and core_calls == calls, "all of it is reused"
    expected = digests(config.runtime.root)
    found = {f"{each.stage}/{each.key}": each.digest for each in made.values() if each.stage != "report"}
    assert found.items() <= expected.items()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_run_reuses_everything_though_listings_are_old(
    store: FaultyStore, there: PipelineConfig, core_calls: Counter[str]
) -> None:
    store.old_listings = True
    made = pipeline(there)
    assert store.listed
    calls = Counter(core_calls)
    again = pipeline(there)
    assert core_calls == calls
    assert [made[stage].digest for stage in made if stage != "report"] == [
        again[stage].digest for stage in again if stage != "report"
    ]


def test_an_artifact_that_another_machine_replaced_is_read_though_it_was_listed(
    store: FaultyStore, root: str, tmp_path: Path
) -> None:
    """What s3fs itself remembers of a listing is old, too, once another machine has written."""
    import fsspec

    filesystem, base = fsspec.url_to_fs(root)
    artifacts.write(root, racer.STAGE, racer.KEY, racer.fill, {})
    assert filesystem.find(base)
    elsewhere = fsspec.filesystem("s3", skip_instance_cache=True)
    elsewhere.pipe_file(f"{base}/{racer.STAGE}/{racer.KEY}/part-0.bin", b"damaged by another machine")
    assert artifacts.find(root, racer.STAGE, racer.KEY) is None
    made = artifacts.write(root, racer.STAGE, racer.KEY, racer.fill, {})
    assert made.digest == undisturbed(tmp_path)


def test_two_machines_that_race_in_one_store_agree(store: FaultyStore, root: str, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    machines = []
    for number in range(2):
        own = tmp_path / f"machine-{number}"
        own.mkdir()
        environment = os.environ | {"TMPDIR": str(own), "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, str(Path(racer.__file__)), root, str(meeting)]
        machines.append(subprocess.Popen(command, env=environment, cwd=own, stdout=subprocess.PIPE, text=True))
    try:
        said = [machine.communicate(timeout=PATIENCE)[0].strip() for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert said == [undisturbed(tmp_path)] * 2
    found = artifacts.find(root, racer.STAGE, racer.KEY)
    assert found is not None and found.digest == said[0]
