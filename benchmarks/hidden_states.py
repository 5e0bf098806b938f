"""What the model's own states tell of harm: a linear classifier on them, on the default run's prompts.

    python benchmarks/hidden_states.py [--layers N ...] [--most N] [--root FOLDER] [--set section.field=value ...]

Scaling neurons has to make its distinction from the same states, so this says how well it could be made. A state is
the mean over a prompt's tokens after a decoder layer. The classifier (logistic regression, its regularisation chosen on
the validation split) learns from the training split, plain and attacked; what is printed is of the test split: the area
under the ROC curve, and the share of harmful prompts found where 3% and 15% of the harmless ones are taken for harmful.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from neurontune_core.config import PipelineConfig, load_config
from neurontune_core.evaluation.benchmarks import BENIGN, group_of
from neurontune_core.evaluation.public_sets import trained_categories
from neurontune_core.model.batches import by_length, padded
from neurontune_core.model.devices import choose_devices
from neurontune_core.model.load import ChatModel, load
from neurontune_core.model.source import describe
from neurontune_core.pairs.prepare import prepare
from neurontune_core.pairs.wrapping import wrap_queries
from neurontune_core.records import Conversation, PromptPair

STRENGTHS = (0.0003, 0.003, 0.03)
"""Inverse regularisations to choose from."""
FALSE_ALARMS = (0.03, 0.15)
GROUPS = {
    "plain": ("harmful_plain", *BENIGN),
    "attacked": ("harmful_attacked", "benign_attacked"),
    "held-out attack": ("harmful_heldout_attack", "benign_heldout_attack"),
}
"""Groups of both roles, and the groups of an evaluation in each."""


def main() -> None:
    """Print a row a layer and a group of test prompts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[16, 24], help="decoder layers, counted from 1")
    parser.add_argument("--most", type=int, default=400, help="most prompts of a role, split and group")
    parser.add_argument("--root", help="artifact root of the converted model")
    parser.add_argument("--set", dest="changes", action="append", default=[], help="a setting, as for `neurontune run`")
    arguments = parser.parse_args()
    config = load_config("smollm2", arguments.changes)
    device = choose_devices(config.runtime.device)[0]
    chat = load(describe(config.model), arguments.root or config.runtime.root, device, working=True)
    sampled = prompts(config, arguments.most)
    harmful = np.array([pair.role == "safety" for pair, _ in sampled])
    split = np.array([pair.split for pair, _ in sampled])
    groups = np.array([group for _, group in sampled])
    table = Table(
        "layer", "test prompts", "n", "AUC", *(f"found at {share:.0%} false alarms" for share in FALSE_ALARMS)
    )
    for layer, values in mean_states(chat, [pair.conversation for pair, _ in sampled], arguments.layers).items():
        scores = fitted(values, harmful, split).decision_function(values)
        for group in GROUPS:
            mine = (split == "test") & (groups == group)
            wrong, right, _ = roc_curve(harmful[mine], scores[mine])
            found = [right[wrong <= share].max() for share in FALSE_ALARMS]
            area = roc_auc_score(harmful[mine], scores[mine])
            table.add_row(str(layer), group, str(mine.sum()), f"{area:.3f}", *(f"{share:.0%}" for share in found))
    print(f"learned from {(split == 'train').sum()} prompts of the training split")
    Console().print(table)


def prompts(config: PipelineConfig, most: int) -> list[tuple[PromptPair, str]]:
    """At most so many prompts of each role, split and group, with their groups.

    No attack is singled out for attribution, which would take the model.
    """
    ready = prepare(config.pairs)
    pairs = wrap_queries(ready.queries, ready.splits, ready.seen, ready.unseen, [], config.pairs)
    trained = trained_categories(pairs)
    kinds: dict[tuple[str, str, str], list[PromptPair]] = defaultdict(list)
    for pair in pairs:
        group = next(name for name, members in GROUPS.items() if group_of(pair, trained) in members)
        kinds[pair.role, pair.split, group].append(pair)
    generator = random.Random(0)
    return [
        (pair, group)
        for (_, _, group), mine in sorted(kinds.items())
        for pair in generator.sample(mine, min(most, len(mine)))
    ]


@torch.inference_mode()
def mean_states(chat: ChatModel, texts: Sequence[str | Conversation], layers: Sequence[int]) -> dict[int, np.ndarray]:
    """The mean over each prompt's tokens of the residual stream after some layers, `[prompt, channel]` each."""
    tokens = [chat.prompt_tokens(text) for text in texts]
    found = {layer: np.empty((len(texts), chat.model.config.hidden_size)) for layer in layers}
    for group in by_length([len(ids) for ids in tokens], 4096):
        ids, mask = padded([tokens[place] for place in group], chat.end_tokens[0], chat.device)
        output = chat.model.base_model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
        for layer, values in found.items():
            states = output.hidden_states[layer].double() * mask[:, :, None]
            values[group] = (states.sum(1) / mask.sum(1, keepdim=True)).cpu().numpy()
    return found


def fitted(values: np.ndarray, harmful: np.ndarray, split: np.ndarray) -> Pipeline:
    """The classifier that validates best."""
    train, validation = split == "train", split == "validation"
    classifiers = [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000, class_weight="balanced")).fit(
            values[train], harmful[train]
        )
        for strength in STRENGTHS
    ]
    return max(
        classifiers, key=lambda each: roc_auc_score(harmful[validation], each.decision_function(values[validation]))
    )


if __name__ == "__main__":
    main()
