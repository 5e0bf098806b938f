"""Data files as inputs of a stage: named `<dataset>/<role or file>`, identified by the digest of their content."""

from neurontune_core.data import corpus
from neurontune_core.records import Artifact


def data_file(digest: str) -> Artifact:
    """Return a data file as an artifact, from its entry in a stage's key.

    The entry of a shipped file is its digest. The entry of any other file is `<dataset>/<role>/<digest of how it is
    read>/<digest of the file>`; text before a blank is ignored.
    """
    place = digest.rpartition(" ")[2]
    if "/" in place:
        name, role, *_, content = place.split("/")
        return Artifact(f"{name}/{role}", digest, "", content)
    names = {corpus.shipped_digest(file): file for file in corpus.FILES}
    return Artifact(f"{corpus.NAME}/{names.get(digest, 'unknown')}", digest, "", digest)
