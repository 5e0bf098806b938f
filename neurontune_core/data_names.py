"""How settings name data: a shipped or public set by name, a file of one's own by its path or its place on the hub."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath

from neurontune_core.errors import InputError, nearest_first

ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".toml")
"""What the name of a file of one's own ends in, in any letter case; `.toml` describes where the rows are."""
HUB = "hub:"
"""How a file on the hub is named: `hub:owner/name/path/to/file.parquet`."""
_LONGEST = 60
_OWN = re.compile(
    r"(?:(?P<role>harmful|benign):)?(?P<place>.*\.(?:[ct]sv|jsonl?|parquet|toml))(?:/(?P<attacks>[^/.]+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class OwnData:
    """A file of one's own as a setting names it: `[ROLE:]PLACE[/ATTACKS]`; `role` and `attacks` are "" if not given."""

    place: str
    role: str = ""
    attacks: str = ""

    @property
    def name(self) -> str:
        """What its rows, rates and metrics are called after: the file's name as a slug, or the hub repository's."""
        path = PurePosixPath(self.place.replace("\\", "/"))
        slug = "_".join(re.findall(r"[^\W_]+", (path.parts[1] if self.is_on_hub else path.stem).lower()))[:_LONGEST]
        # the groups of a run's own test split are called `harmful_plain`, `benign_ordinary` and so on
        taken = slug in _public() or slug.startswith(("harmful", "benign", "shipped"))
        return f"own_{slug}" if taken else slug or "own"

    @property
    def benchmark(self) -> str:
        """What it is called among the benchmarks: `mine`, `mine_benign`, `mine/heldout`."""
        return f"{self.name}{'_benign' if self.role == 'benign' else ''}{'/' if self.attacks else ''}{self.attacks}"

    @property
    def is_on_hub(self) -> bool:
        """Whether it is to be found on the hub; there are at least an owner, a name and a file then."""
        return self.place.startswith(HUB) and self.place.count("/") > 1


def own_data(text: str) -> OwnData | None:
    """Return the file of one's own that a setting names, None for a set that is known by name."""
    match = _OWN.fullmatch(text.strip())
    if match is None:
        return None
    return OwnData(match["place"], (match["role"] or "").lower(), match["attacks"] or "")


def own_files(names: Iterable[str]) -> list[str]:
    """Return the paths of the files of one's own that a setting names, without those on the hub."""
    return [own.place for name in names if (own := own_data(name)) and not own.is_on_hub]


def file_of(text: str) -> OwnData | None:
    """Return the file of one's own that a setting names where neither role nor attacks can be given with it."""
    own = own_data(text)
    return own if own and not (own.role or own.attacks) else None


def short_name(text: str) -> str:
    """Return what a set is called in a run's results: its name, or for a file of one's own a name that has no path."""
    own = own_data(text)
    return own.benchmark if own else text


def with_absolute_paths(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names with the paths of files made absolute, so that they are found from any folder."""
    return tuple(map(_absolute, names))


def check_entry(field: str, text: str, known: Iterable[str], what: str) -> None:
    """Check that a setting names a set that is known, or a file of one's own that may exist.

    Raises:
        InputError: it does neither; the message names the endings of files where a file seems to be meant.
    """
    own = file_of(text)
    if own is not None and "://" not in text and (own.is_on_hub or not text.startswith(HUB)):
        return
    if text.startswith(HUB):
        raise InputError(
            f"{field}: {text!r} names no file; give hub:OWNER/NAME/FILE, e.g. hub:owner/name/data/train.parquet"
        )
    if text not in known or own is not None:
        raise InputError(
            f"{field}: unknown {what} {text!r}; choose among {nearest_first(text, known)}, or give a file of your own "
            f"that ends in {', '.join(ENDINGS)}"
        )


def check_distinct(field: str, names: Iterable[str]) -> None:
    """Check that no two sets of a setting go by one name.

    Raises:
        InputError: two do.
    """
    met: dict[str, str] = {}
    for text in names:
        name = short_name(text)
        if name in met and met[name] != text:
            raise InputError(f"{field}: {met[name]} and {text} would both be called {name!r}; rename one of the files")
        met[name] = text


def _absolute(text: str) -> str:
    own = own_data(text)
    if own is None or "://" in text or own.place.startswith(HUB):
        return text.strip()
    role, attacks = (f"{own.role}:" if own.role else ""), (f"/{own.attacks}" if own.attacks else "")
    return f"{role}{Path(own.place).expanduser().absolute()}{attacks}"


@cache
def _public() -> frozenset[str]:
    """Return the names of all public sets."""
    package = resources.files("neurontune_core")
    folders = (package / "data" / "datasets", package / "evaluation" / "benchmark_files")
    return frozenset(entry.name.removesuffix(".toml") for folder in folders for entry in folder.iterdir())
