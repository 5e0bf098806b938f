"""Flows that run only the first stages of the pipeline; in a file of their own, because making a flow takes time."""

from prefect import flow

from flows.inputs import check_inputs
from flows.pipeline import DEFAULTS, check_fit, find_and_learn, find_neurons, make_pairs_of
from flows.run_names import named, of_config, typed_name
from flows.stages import noted, recorded
from neurontune_core.config import PipelineConfig
from neurontune_core.records import Artifact
from neurontune_core.run_name import run_name

_name_flow_run = named(of_config)


@flow(name="pairs", flow_run_name=_name_flow_run)
@noted
def pairs_only(config: PipelineConfig = DEFAULTS) -> Artifact:
    """Build the pairs of a configuration or reuse them: only the first stage of the pipeline."""
    inputs = check_inputs(config)
    with recorded(config, typed_name() or run_name(config), inputs.model.identity, ()) as run:
        return make_pairs_of(run, config, inputs)


@flow(name="selection", flow_run_name=_name_flow_run)
@noted
def selection_only(config: PipelineConfig = DEFAULTS) -> dict[str, Artifact]:
    """Find the neurons of a configuration without learning factors: the stages from the pairs to the selection."""
    inputs = check_inputs(config)
    with recorded(config, typed_name() or run_name(config), inputs.model.identity, ()) as run:
        return find_neurons(run, config, inputs)


@flow(name="scaling", flow_run_name=_name_flow_run)
@noted
def scaling_only(config: PipelineConfig = DEFAULTS) -> dict[str, Artifact]:
    """Learn the factors of a configuration without using test prompts: the stages from the pairs to the scaling."""
    inputs = check_inputs(config)
    check_fit(config, inputs)
    with recorded(config, typed_name() or run_name(config), inputs.model.identity, ()) as run:
        return find_and_learn(run, config, inputs)
