"""Settings of the evaluation stage."""

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator

from neurontune_core.data.settings import SourceConfig
from neurontune_core.section import ByMethod, Names, Section, as_list, methods_of

ModelJudgeName = Literal["llama-guard-3", "llama-guard-4", "wildguard", "shieldgemma", "harmbench", "strongreject"]
MODEL_JUDGES = get_args(ModelJudgeName)
ALSO_JUDGE = rf"^(?:rules|keyword|(?:{'|'.join(MODEL_JUDGES)})(?:=.+)?)$"
DEFAULT_JUDGE = "rules"
JUDGE_MEANING = (
    "Judge of the answers (docs/evaluation.md); `evaluation.judge=NAME` sets it too. A judge that reads a "
    "model or a file has a path."
)
PATH_MEANING = (
    "Model folder of the `classifier` judge, verdict file of the `precomputed` one, folder or hub id of a model judge "
    "(its own hub id by default)."
)


class RulesSettings(Section):
    """The rules judge: weighted cues of refusal and of compliance in an answer."""

    method: Literal["rules"] = Field(default="rules", description=JUDGE_MEANING)


class KeywordSettings(Section):
    """The keyword judge: an answer that contains one of its phrases is a refusal."""

    method: Literal["keyword"] = Field(default="keyword", description=JUDGE_MEANING)


class ReadingJudgeSettings(Section):
    """A judge that needs the path of a model folder or a verdict file."""

    path: str = Field(default="", validate_default=True, description=PATH_MEANING)

    @field_validator("path")
    @classmethod
    def _is_given(cls, path: str) -> str:
        if not path:
            raise ValueError("this judge reads a model folder or a verdict file; give its path")
        return path


class ClassifierSettings(ReadingJudgeSettings):
    """A Hugging Face classifier, or a guard model, in a local folder."""

    method: Literal["classifier"] = Field(default="classifier", description=JUDGE_MEANING)


class PrecomputedSettings(ReadingJudgeSettings):
    """Verdicts looked up in a file by the id of each answer."""

    method: Literal["precomputed"] = Field(default="precomputed", description=JUDGE_MEANING)


class ModelJudgeSettings(Section):
    """A model trained to judge, with the prompt of its training."""

    method: ModelJudgeName = Field(default=MODEL_JUDGES[0], description=JUDGE_MEANING)
    path: str | None = Field(default=None, min_length=1, description=PATH_MEANING)


AnyJudge = RulesSettings | KeywordSettings | ClassifierSettings | PrecomputedSettings | ModelJudgeSettings
JUDGES = methods_of(AnyJudge)
"""The settings of each judge by its name."""

JudgeConfig = Annotated[
    AnyJudge,
    ByMethod(JUDGES, DEFAULT_JUDGE),
    BeforeValidator(lambda value: {"method": value} if isinstance(value, str) else value),
]
"""Settings of one judge, or only its name; a setting of another judge is an error."""


def path_of(judge: JudgeConfig) -> str | None:
    """Return the model or file that a judge reads, None if it reads none."""
    return None if isinstance(judge, RulesSettings | KeywordSettings) else judge.path


class EvaluationConfig(Section):
    """Settings of what is generated and how it is judged."""

    benchmarks: Names = Field(
        default=("shipped",),
        description="Benchmarks to ask: `shipped` (the test split), a public set such as `advbench`, or a file of "
        "your own (`mine.csv` with harmful queries, `benign:mine.csv` with harmless queries), plain or "
        "wrapped in attacks (`advbench/heldout`, `advbench/all`, `mine.csv/translation`).",
    )
    attacks: Names = Field(
        default=("shipped",),
        description="Attacks in which queries of public sets and of your files are wrapped: shipped, or files of your "
        "own.",
    )
    sources: dict[str, SourceConfig] = Field(
        default_factory=dict,
        description="Settings of each public set or file, by its name: path, hub commit, limit, columns, system "
        "prompt.",
    )
    prompts_per_benchmark: int = Field(default=50, ge=1, description="Most prompts taken from each benchmark.")
    max_new_tokens: int = Field(default=150, ge=1, description="Most tokens of an answer.")
    engine: Literal["transformers", "vllm"] = Field(
        default="transformers",
        description="What generates the answers: the loaded model, or vLLM on a copy with the factors in its weights.",
    )
    judge: JudgeConfig = Field(default=RulesSettings(), description=JUDGE_MEANING)
    also_judges: Annotated[tuple[Annotated[str, Field(pattern=ALSO_JUDGE)], ...], BeforeValidator(as_list)] = Field(
        default=(),
        description="Further judges, whose agreement with the first is measured: `rules`, `keyword`, or a model judge "
        "with its folder or hub id, as in `wildguard=FOLDER`.",
    )
    bootstrap_samples: int = Field(default=2000, ge=100, description="Number of resamples of the paired bootstrap.")
    seed: int = Field(default=0, ge=0, description="Seed of prompt samples and of the bootstrap.")
