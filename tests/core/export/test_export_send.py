"""An exported folder is sent on only where that was found possible before anything was computed."""

import stat
from pathlib import Path
from typing import Any

import pytest

from neurontune_core.errors import InputError
from neurontune_core.export import send


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of llama.cpp's converter, which copies a folder's configuration."""
    folder = tmp_path / "llama.cpp"
    folder.mkdir()
    program = folder / send.CONVERTER
    program.write_text(
        "import pathlib, sys\nfolder, _, file = sys.argv[1:4]\n"
        "pathlib.Path(file).write_text(pathlib.Path(folder, 'config.json').read_text())\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("LLAMA_CPP", str(folder))
    return program


def test_the_converter_makes_the_file(converter: Path, tmp_path: Path) -> None:
    model, file = tmp_path / "model", tmp_path / "tuned.gguf"
    model.mkdir()
    assert send.find_converter(file) == converter
    with pytest.raises(send.SendError, match=r"--gguf: .*config\.json.*the exported folder .*model is kept"):
        send.convert_to_gguf(model, file, converter)
    (model / "config.json").write_text("{}")
    send.convert_to_gguf(model, file, converter)
    assert file.read_text() == "{}"
    with pytest.raises(InputError, match=r"--gguf: .*must be a new file"):
        send.find_converter(file)


@pytest.mark.parametrize("name", ["tuned.bin", "nowhere/tuned.gguf"])
def test_a_file_that_cannot_be_made_is_refused(converter: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="--gguf"):
        send.find_converter(tmp_path / name)


def test_without_a_converter_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"convert_hf_to_gguf\.py is not on the PATH; set LLAMA_CPP"):
        send.find_converter(tmp_path / "tuned.gguf")


@pytest.mark.parametrize("name", ["no owner", "a/b/c", "name", "-a/b"])
def test_a_name_that_is_no_repository_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"--push: .* is not the name of a repository; give OWNER/NAME"):
        send.check_repository(name)


def test_without_a_token_nothing_is_pushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "get_token", lambda: None)
    with pytest.raises(InputError, match="--push: there is no token"):
        send.check_repository("me/model")


def test_a_folder_is_uploaded_to_a_private_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, Any]] = []

    class Hub:
        def create_repo(self, repository: str, **options: Any) -> None:
            called.append((repository, options))

        def upload_folder(self, **options: Any) -> str:
            called.append((options["repo_id"], options["folder_path"]))
            return "https://hub/commit"

    monkeypatch.setattr(send, "HfApi", Hub)
    assert send.push(tmp_path, "me/model") == "https://hub/commit"
    assert called == [("me/model", {"private": True, "exist_ok": True}), ("me/model", tmp_path)]
