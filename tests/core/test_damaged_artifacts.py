"""Damaged artifacts: they count as missing, opening one is an error, and the next writer replaces them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from written_artifact import BYTES, KEY, NUMBERS, STAGE, write

from neurontune_core import artifacts
from neurontune_core.errors import ArtifactError
from neurontune_core.records import Artifact


def truncate(folder: Path) -> str:
    (folder / "numbers.txt").write_text(NUMBERS[:-1])
    return "numbers.txt"


def flip(folder: Path) -> str:
    changed = bytearray(BYTES)
    changed[5000] ^= 1
    (folder / "part" / "more.bin").write_bytes(changed)
    return "part/more.bin"


def remove(folder: Path) -> str:
    (folder / "part" / "more.bin").unlink()
    return "part/more.bin"


def turn_into_folder(folder: Path) -> str:
    (folder / "numbers.txt").unlink()
    (folder / "numbers.txt").mkdir()
    return "numbers.txt"


def remove_manifest(folder: Path) -> str:
    (folder / "manifest.json").unlink()
    return "manifest.json"


def truncate_manifest(folder: Path) -> str:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text[: len(text) // 2])
    return "manifest.json"


def spoil_encoding(folder: Path) -> str:
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(content.replace(b"numbers", b"\xff\xfembers"))
    return "manifest.json"


def change_fact(folder: Path) -> str:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"gap": 0.25', '"gap": 0.35'))
    return "manifest.json"


def other_json(text: str) -> Callable[[Path], str]:
    def spoil(folder: Path) -> str:
        (folder / "manifest.json").write_text(text)
        return "manifest.json"

    return spoil


NO_MANIFESTS = ["[]", "null", "7", "true", '"text"', "{}", '{"files": {}}', "[" * 100_000, "NaN", "", "\0" * 100]
DAMAGES = [
    truncate, flip, remove, turn_into_folder, remove_manifest, truncate_manifest, spoil_encoding, change_fact,
    *map(other_json, NO_MANIFESTS),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_absence_to_find_and_an_error_to_open(tmp_path: Path, damage: Callable[[Path], str]) -> None:
    written = write(tmp_path)
    name = damage(tmp_path / STAGE / KEY)
    assert artifacts.find(str(tmp_path), STAGE, KEY) is None
    for use in (artifacts.verify, artifacts.open_folder):
        with pytest.raises(ArtifactError) as caught:
            use(written)
        message = str(caught.value)
        assert name in message and f"{STAGE}/{KEY}" in message
        assert "run the pipeline again to recompute this stage" in message


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_artifact_is_replaced(tmp_path: Path, damage: Callable[[Path], str]) -> None:
    first = write(tmp_path)
    damage(tmp_path / STAGE / KEY)
    assert write(tmp_path) == first
    assert (artifacts.open_folder(first) / "numbers.txt").read_text() == NUMBERS
    assert sum(path.is_file() for path in (tmp_path / STAGE).rglob("*")) == 3


def test_a_changed_bit_anywhere_in_the_manifest_is_noticed(tmp_path: Path) -> None:
    written = write(tmp_path)
    manifest = artifacts.read_manifest(written)
    file = tmp_path / STAGE / KEY / "manifest.json"
    content = file.read_bytes()
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        file.write_bytes(changed)
        found = artifacts.find(str(tmp_path), STAGE, KEY)
        assert found is None or artifacts.read_manifest(found) == manifest, f"byte {place}"


def test_an_artifact_changed_to_another_good_one_is_refused(tmp_path: Path) -> None:
    written = write(tmp_path)
    stale = Artifact(STAGE, KEY, written.uri, digest="0" * 64)
    with pytest.raises(ArtifactError, match="does not match the expected digest"):
        artifacts.open_folder(stale)


def test_files_outside_the_artifact_are_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / STAGE / KEY
    folder.mkdir(parents=True)
    digest = hashlib.sha256(b"secret").hexdigest()
    files = {"../../outside": {"sha256": digest, "bytes": 6}}
    listing = hashlib.sha256(f"../../outside\0{digest}\n".encode()).hexdigest()
    manifest = {"digest": listing, "files": files}
    checksum = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest | {"checksum": checksum}))
    with pytest.raises(ArtifactError, match="outside is not inside the artifact"):
        artifacts.verify(Artifact(STAGE, KEY, str(folder), listing))
