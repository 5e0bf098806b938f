"""The scores stage: one table out of all shards."""

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
    manifests = [artifacts.read_manifest(shard)["settings"] for shard in shards]
    if manifests:
        merge.check_complete(Counter(settings["shard"] for settings in manifests), manifests[0]["shards"])

    def fill(folder: Path) -> Mapping[str, float]:
        merged = merge.merge_tables([tables.load_table(artifacts.open_folder(shard), "part") for shard in shards])
        tables.save_table(folder, STAGE, merged)
        return {"rows": len(merged), "shards": len(shards)}

    return carry_out(STAGE, run, fill, {}, shards)


def shard_manifests(scores: Artifact) -> list[dict[str, Any]]:
    """Return the manifests of the shards that scores were merged from, of those that are still there."""
    root = scores.uri.removesuffix(f"/{STAGE}/{scores.key}")
    shards = artifacts.read_manifest(scores)["inputs"]
    found = [artifacts.find(root, shard["stage"], shard["key"]) for shard in shards]
    return [artifacts.read_manifest(shard) for shard in found if shard]
