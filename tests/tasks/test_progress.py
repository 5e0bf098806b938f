import logging
import time
from concurrent.futures import CancelledError
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import Client

from tasks import progress


def test_items_pass_through_unchanged() -> None:
    assert list(progress.tracker("scaling")(iter("abc"), "steps", 3)) == ["a", "b", "c"]


def test_line_every_half_minute_with_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = count(0, 20)  # each look at the clock is 20 seconds later
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    with caplog.at_level(logging.INFO, logger="neurontune"):
        list(progress.tracker("attribution shard 2/4")(range(4), "attributing", 4))
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "attribution shard 2/4: attributing 1/4, about 120 s left",
        "attribution shard 2/4: attributing 3/4, about 27 s left",
    ]
    assert all(record.progress_line for record in caplog.records)


def test_bars_and_lines_of_a_variant_begin_with_its_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = count(0, 40)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    with caplog.at_level(logging.INFO, logger="neurontune"):
        with progress.of_variant("trial 2"):
            list(progress.tracker("scaling")(range(2), "learning alpha", 2))
        list(progress.tracker("scaling")(range(2), "learning alpha", 2))
    starts = [record.getMessage().partition(" learning")[0] for record in caplog.records]
    assert starts == ["trial 2: scaling:"] * 2 + ["scaling:"] * 2


def test_a_first_item_that_takes_long_has_no_estimate(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = count(0, 40)  # half a minute has passed before the first item is done
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    with caplog.at_level(logging.INFO, logger="neurontune"):
        list(progress.tracker("scaling")(range(2), "learning alpha", 2))
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["scaling: learning alpha 0/2", "scaling: learning alpha 1/2, about 80 s left"]


def test_stop_request_ends_the_loop() -> None:
    track = progress.tracker("scaling")(range(5), "steps", 5)
    assert next(track) == 0
    progress.stop_requested.set()
    try:
        with pytest.raises(KeyboardInterrupt):
            next(track)
    finally:
        progress.stop_requested.clear()


def work_until_stopped(folder: Path) -> None:
    try:
        for _ in progress.tracker("attribution")(range(3000), "attributing", 3000):
            (folder / "begun").touch()
            time.sleep(0.01)
    except CancelledError:
        (folder / "stopped").touch()
        raise


@pytest.mark.slow
def test_dask_worker_stops_what_nobody_waits_for_any_more(tmp_path: Path) -> None:
    """A cancelled run tells only Dask, whose workers may be on other machines."""

    def appears(name: str) -> bool:
        deadline = time.monotonic() + 20
        while not (there := (tmp_path / name).exists()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return there

    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        future = client.submit(work_until_stopped, tmp_path)
        assert appears("begun")
        future.release()
        assert appears("stopped")
        assert client.submit(sum, [1, 2]).result() == 3, "the worker lives on"
