"""Data files as inputs of a stage: named `<dataset>/<role or file>`, known by the digest of their content."""

from neurontune_core.data import corpus
from neurontune_core.records import Artifact


def data_file(digest: str) -> Artifact:
    """Return a data file by what stands for it in a stage's key.

    That is the digest of a shipped file, or, after a blank if there is more, `<dataset>/<role>/<digest of how it is
    read>/<digest of the file>`.
    """
    place = digest.rpartition(" ")[2]
    if "/" in place:
        name, role, *_, content = place.split("/")
        return Artifact(f"{name}/{role}", digest, "", content)
    names = {corpus.digest(file): file for file in corpus.FILES}
    return Artifact(f"{corpus.NAME}/{names.get(digest, 'unknown')}", digest, "", digest)
