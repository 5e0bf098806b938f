"""The scores stage: add up the tables of all shards."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurontune_core import artifacts, tables
from neurontune_core.records import Artifact
from neurontune_core.scores import merge
from tasks.stage import StageRun, carry_out, stage_task

STAGE = "scores"


def scores_key(shards: Sequence[Artifact]) -> str:
    """Return the content key of the merged table of these shards."""
    return artifacts.stage_key(STAGE, merge.VERSION, {}, "", [shard.digest for shard in shards])


@stage_task(STAGE, scores_key)
def merge_scores(shards: Sequence[Artifact], run: StageRun) -> Artifact:
    """Add up the shard tables."""
    manifests = [artifacts.read_manifest(shard) for shard in shards]
    numbers = [manifest["settings"]["shard"] for manifest in manifests]
    if manifests:
        merge.check_complete(Counter(numbers), manifests[0]["settings"]["shards"])
    # devices are in the manifest, not in the table: equal scores of different devices must have the same digest
    parts = {"parts": [_part(manifest) for manifest in manifests]}

    def fill(folder: Path) -> Mapping[str, float]:
        merged = merge.merge_tables([tables.load_table(artifacts.open_folder(shard), "part") for shard in shards])
        tables.save_table(folder, STAGE, merged)
        return {"rows": len(merged), "shards": len(shards)}

    return carry_out(STAGE, run, fill, parts, shards)


def _part(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the number of a shard, counted from 1, the device that computed it, and its number of pairs."""
    settings = manifest["settings"]
    device = settings.get("device", "not known")
    return {"shard": settings["shard"] + 1, "device": device, "pairs": manifest["facts"].get("pairs")}


def shard_manifests(scores: Artifact) -> list[dict[str, Any]]:
    """Return the manifests of the shards that the scores were merged from; deleted shards are left out."""
    root = scores.uri.removesuffix(f"/{STAGE}/{scores.key}")
    shards = artifacts.read_manifest(scores)["inputs"]
    found = [artifacts.find(root, shard["stage"], shard["key"]) for shard in shards]
    return [artifacts.read_manifest(shard) for shard in found if shard]
