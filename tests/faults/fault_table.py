"""The table of faults: a row a fault, with what is done, what must hold, and the test that does it.

docs/reliability.md shows the table; `test_fault_table.py` holds page, table and tests together. A fault that a flow
meets in its own process is a row with a `point`, and is carried out by `test_faulty_runs.py`: a tiny flow runs with the
fault injected at that point, runs again, and every artifact's digest is that of an undisturbed run.
"""

from dataclasses import dataclass

FAULTY = "tests/faults/test_faulty_runs.py::test_a_run_with_a_fault_and_the_next_make_what_an_undisturbed_run_makes"
KILLED = "tests/faults/test_killed_processes.py::test_a_run_killed_at_a_stage_is_taken_up_by_the_next"


@dataclass(frozen=True)
class Fault:
    """A row: `proof` is the test that shows it; `point` is where the fault is injected, "" where the test knows.

    One that is not `quick` is left to `make test-all`.
    """

    what: str
    holds: str
    proof: str
    point: str = ""
    quick: bool = True


STAGES = (
    "pairs", "attribution", "scores", "selection", "cards", "scaling", "base", "tuned", "evaluation", "base-ability",
    "ability", "triggers", "report",
)  # fmt: skip
TAKEN_UP = "The next run reuses finished work and makes the same files; nothing stays RUNNING."

IN_PROCESS = [
    Fault(
        f"A run ends by an error while {stage} is written",
        "The folder does not appear under its name; the next run makes the same file.",
        FAULTY,
        f"in {stage}",
        quick=stage == "scores",
    )
    for stage in ("scores", "scaling")
] + [
    Fault(
        "A run ends between the last file of an artifact and its renaming",
        "An incomplete artifact never counts; the next run makes the same files.",
        FAULTY,
        "before the rename of selection",
    ),
    Fault(
        "A run ends between the renaming of an artifact and its record in Prefect and MLflow",
        "The artifact counts; the next run reuses it.",
        FAULTY,
        "after the rename of base",
    ),
    Fault(
        "The system clock is set back by a day during a run",
        "Reuse depends on contents and not on times, so the files are the same.",
        FAULTY,
        "clock set back",
        quick=False,
    ),
    Fault(
        "A device runs out of memory once, in one shard",
        "The shard is tried again and the run ends well.",
        FAULTY,
        "out of memory in attribution",
        quick=False,
    ),
    Fault(
        "Every manifest is replaced by JSON that is not an object",
        "Each stage is computed again, to the same files.",
        FAULTY,
        "manifests are lists",
    ),
    Fault(
        "Prefect's result records are overwritten with garbage",
        "They are ignored, because artifacts are found by their keys.",
        FAULTY,
        "result records are garbage",
        quick=False,
    ),
    Fault(
        "Records that wait to be sent to MLflow are overwritten with garbage",
        "Each is set aside with one line; the run ends well.",
        FAULTY,
        "kept records are garbage",
        quick=False,
    ),
]

KILLS = [Fault(f"kill -9 while {stage} is computed", TAKEN_UP, KILLED, f"in {stage}") for stage in STAGES]
KILLS.insert(
    0,
    Fault(
        "kill -9 before the first stage, while the inputs are checked",
        "Nothing stays RUNNING.",
        KILLED,
        "before pairs",
    ),
)
KILLS.insert(
    STAGES.index("scaling") + 2,
    Fault("kill -9 in the same stage twice in a row", TAKEN_UP, KILLED, "again in scaling"),
)
KILLS.insert(
    STAGES.index("evaluation") + 2,
    Fault("kill -9 between the renaming of an artifact and its record", TAKEN_UP, KILLED, "after the rename of tuned"),
)
"""In the order of the flow: they are carried out one after another in one root."""

_TASKS, _FLOWS, _CORE = "tests/tasks", "tests/flows", "tests/core"
_S3 = "tests/faults/test_s3_faults.py"

STORES = [
    Fault(
        "Two machines, each with its own folder and both with one object store, compute the same key at the same time",
        "Both get the same complete artifact.",
        "tests/faults/test_object_storage.py::test_two_machines_that_race_for_one_key_agree",
    ),
    Fault(
        "Object storage fails every tenth request",
        "Failed requests are made again, and the artifact is the same; an incomplete artifact never counts.",
        "tests/faults/test_object_storage.py::test_storage_that_fails_now_and_then_gives_the_same_artifact",
    ),
    Fault(
        "Object storage returns old listings",
        "Artifacts are found by their manifest's name, never by a listing.",
        "tests/faults/test_object_storage.py::test_old_listings_hide_no_artifact",
    ),
    Fault(
        "While an artifact is made, every tenth request to S3 is refused, fails, is disconnected or cut short",
        "The request is made again; an artifact that takes hundreds of requests is made at the first attempt.",
        f"{_S3}::test_an_artifact_of_many_requests_is_made_though_every_tenth_fails",
    ),
    Fault(
        "The same failures of S3 during a whole run",
        "Each stage is computed once; the files are those of an undisturbed run.",
        f"{_S3}::test_a_run_makes_the_same_files_though_every_tenth_request_fails",
        quick=False,
    ),
    Fault(
        "S3 answers every listing with the state before the run",
        "The next run reuses all artifacts.",
        f"{_S3}::test_a_run_reuses_everything_though_listings_are_old",
        quick=False,
    ),
    Fault(
        "Another machine replaces a file in S3 after this machine has listed it",
        "The new file is read, in spite of the old listing.",
        f"{_S3}::test_an_artifact_that_another_machine_replaced_is_read_though_it_was_listed",
    ),
    Fault(
        "Two machines (processes, each with its own folder) make the same artifact in S3 at the same time",
        "Both end with the same complete artifact.",
        f"{_S3}::test_two_machines_that_race_in_one_store_agree",
    ),
    Fault(
        "An upload to object storage ends half-way",
        "The incomplete artifact does not count; the next attempt completes it.",
        f"{_CORE}/test_artifacts.py::test_an_interrupted_upload_does_not_count",
    ),
    Fault(
        "A file in object storage changes",
        "The stage is computed again.",
        f"{_CORE}/test_artifacts.py::test_remote_damage_is_noticed_and_replaced",
    ),
    Fault(
        "A downloaded copy changes",
        "It is fetched again.",
        f"{_CORE}/test_artifacts.py::test_a_damaged_download_is_fetched_again",
    ),
]

FILES = [
    Fault(
        "A file of an artifact is cut short, changed or deleted, or its manifest is damaged in any of nineteen ways",
        "The artifact does not count, and the stage is computed again.",
        f"{_CORE}/test_damaged_artifacts.py::test_damage_is_absence_to_find_and_an_error_to_open",
    ),
    Fault(
        "One bit of a manifest flips",
        "The damage is noticed, whichever bit it is.",
        f"{_CORE}/test_damaged_artifacts.py::test_a_changed_bit_anywhere_in_the_manifest_is_noticed",
    ),
    Fault(
        "A manifest names files outside its artifact",
        "The manifest is refused.",
        f"{_CORE}/test_damaged_artifacts.py::test_files_outside_the_artifact_are_refused",
    ),
    Fault(
        "An artifact is damaged between two runs",
        "Only its stage is computed again.",
        f"{_FLOWS}/test_pipeline.py::test_damaged_artifact_is_computed_again",
    ),
    Fault(
        "A stage gives NaN or infinity",
        "The error names the number, and nothing is stored.",
        f"{_CORE}/test_artifacts.py::test_a_fact_that_is_not_finite_is_named_and_nothing_kept",
    ),
    Fault(
        "A killed process left a stage's unfinished files, and the stage's settings are never used again",
        "The next run deletes these files; those of processes still at work stay.",
        f"{_CORE}/test_artifacts.py::test_leftovers_of_any_key_are_removed_and_what_is_at_work_stays",
    ),
    Fault(
        "kill -9 while vLLM generates answers from a copy of the weights",
        "The next run on the same root deletes the copy.",
        f"{_CORE}/test_artifacts.py::test_a_temporary_folder_of_a_killed_process_goes_with_the_next_run",
    ),
    Fault(
        "kill -9 of an export",
        "No incomplete folder appears under the given name; the next export deletes the temporary files.",
        f"{_CORE}/export/test_export_target.py::test_an_export_removes_what_a_killed_one_left_and_spares_one_at_work",
    ),
    Fault(
        "The state of an unfinished stage cannot be saved",
        "The state saved before stays.",
        f"{_CORE}/test_unfinished.py::test_a_save_that_fails_leaves_what_was_there",
    ),
    Fault(
        "An artifact root is copied, and the copy lacks files that the original has",
        "The copy shows its own runs, uses its own files and computes the missing ones.",
        f"{_TASKS}/recording/test_moved_root.py::test_a_copy_is_a_root_of_its_own_with_the_runs_of_the_original",
    ),
    Fault(
        "An artifact root is moved",
        "MLflow names the files in their new place; addresses in other roots are not changed.",
        f"{_TASKS}/recording/test_moved_root.py::test_a_moved_database_names_its_own_files_and_no_others",
    ),
]

AT_ONCE = [
    Fault(
        "Four runs start at once in a fresh root",
        "All succeed; each stage is computed once.",
        "tests/faults/test_four_at_once.py::test_four_runs_at_once_in_a_fresh_root_all_succeed",
    ),
    Fault(
        "Two runs with the same configuration at once",
        "Each artifact is computed once.",
        f"{_FLOWS}/test_pipeline.py::test_two_runs_at_once_compute_each_artifact_once",
    ),
    Fault(
        "Two processes write the artifact of the same key at once",
        "Both get the same artifact.",
        f"{_CORE}/test_artifacts.py::test_processes_that_write_one_key_at_once_agree",
    ),
    Fault(
        "200 tiny runs one after another in one root",
        "Memory, open files, threads and the database do not grow without bound.",
        "tests/faults/test_soak.py::test_two_hundred_runs_leave_nothing_behind",
    ),
]

RECORDS = [
    Fault(
        "MLflow cannot be reached from the second stage on, and during the whole next run",
        "Nothing fails; both runs are recorded later as if MLflow had been reachable.",
        f"{_TASKS}/recording/test_mlflow_spool.py::test_what_mlflow_missed_is_kept_and_sent_later_as_if_it_had_not_been_away",
    ),
    Fault(
        "MLflow answers slowly or not at all",
        "A run does not wait for each record.",
        f"{_TASKS}/recording/test_mlflow_spool.py::test_after_a_slow_failure_records_are_kept_at_once",
    ),
    Fault(
        "Two processes send kept records at once",
        "Each is sent once.",
        f"{_TASKS}/recording/test_mlflow_spool.py::test_two_that_send_at_once_send_everything_once",
    ),
    Fault(
        "The experiment is deleted in MLflow before or during a run",
        "The records are kept, one line names the command that restores the experiment, and after that they are sent.",
        f"{_TASKS}/recording/test_mlflow_faults.py::test_what_an_experiment_that_was_deleted_missed_is_sent_after_it_is_restored",
    ),
    Fault(
        "A run is deleted in MLflow",
        "Its records are kept, and the records of other runs are sent.",
        f"{_TASKS}/recording/test_mlflow_faults.py::test_a_run_that_was_deleted_keeps_its_records_and_holds_up_no_others",
    ),
    Fault(
        "mlflow.db holds garbage or zeros, is cut short, is a folder, or has damaged pages",
        "One line says so; the run ends well, and its records are kept.",
        f"{_TASKS}/recording/test_mlflow_faults.py::test_a_damaged_database_is_told_in_one_line_and_gets_its_records_later",
    ),
    Fault(
        "mlflow.db is damaged during a run",
        "One line says so, without SQLAlchemy's messages; the run ends well.",
        f"{_TASKS}/recording/test_mlflow_faults.py::test_a_database_damaged_in_mid_run_costs_a_run_one_line",
    ),
    Fault(
        "mlflow.db is locked by another program for longer than a run",
        "One line says so; the records are sent later.",
        f"{_TASKS}/recording/test_mlflow_faults.py::test_a_locked_database_costs_a_run_one_line_and_gets_its_records_later",
    ),
    Fault(
        "kill -9 while mlflow.db is created",
        "The database is either complete or absent.",
        f"{_TASKS}/recording/test_mlflow_faults.py::test_a_database_is_made_whole_or_not_at_all",
    ),
    Fault(
        "A process that hangs holds the lock of mlflow.db",
        "After a minute other processes go on without the lock.",
        f"{_TASKS}/recording/test_mlflow_faults.py::test_a_lock_that_nobody_gives_back_is_not_waited_for",
    ),
    Fault(
        "kill -9 of a run",
        "The next run, `neurontune up` or `neurontune sync` ends it: KILLED in MLflow, Crashed in Prefect.",
        f"{_TASKS}/recording/test_killed_runs.py::test_the_next_run_ends_a_killed_one",
    ),
    Fault(
        "One run is still at work while another starts",
        "The first run is not mistaken for a killed one.",
        f"{_TASKS}/recording/test_killed_runs.py::test_a_run_at_work_is_left_alone",
    ),
    Fault(
        "MLflow or Prefect cannot be reached when a killed run is to be ended",
        "The run is ended later.",
        f"{_TASKS}/recording/test_killed_runs.py::test_what_cannot_be_ended_now_is_ended_later",
    ),
]

SERVERS = [
    Fault(
        "`.prefect/running.json` is empty, cut short, not of the expected form, or names a process that has ended",
        "The file is ignored.",
        f"{_FLOWS}/services/test_environment.py::test_a_damaged_note_is_as_none",
    ),
    Fault(
        "A root is copied while `neurontune up` runs on it",
        "The copy's commands do not use the original's servers.",
        f"{_FLOWS}/services/test_environment.py::test_the_note_of_a_copied_root_is_not_the_copys",
    ),
    Fault(
        "A worker process that computes attribution is killed",
        "Another process replaces it; the scores are the same.",
        f"{_FLOWS}/test_runners.py::test_killed_worker_process_is_replaced",
    ),
    Fault(
        "The process of a run on a worker is killed",
        "This is noticed, and the run is resumed; only the shard that was being computed is lost.",
        f"{_FLOWS}/services/test_services.py::test_killed_run_is_noticed_and_resumed",
    ),
    Fault(
        "A machine fails with its worker and its run",
        "The missing heartbeat is noticed, and the run is resumed.",
        f"{_FLOWS}/services/test_services.py::test_run_of_a_lost_machine_is_resumed",
    ),
    Fault(
        "A Dask worker is lost",
        "Another worker computes its shards; the scores are the same.",
        f"{_FLOWS}/test_runners.py::test_a_lost_dask_worker_costs_no_shard",
        quick=False,
    ),
    Fault(
        "The Dask scheduler is lost",
        "The run ends within a minute with a line that names the scheduler; the next run reuses the finished shards.",
        f"{_FLOWS}/test_runners.py::test_a_lost_dask_scheduler_is_named_and_the_next_run_takes_up_what_was_finished",
        quick=False,
    ),
    Fault(
        "A Dask worker still computes a shard of a run that has ended",
        "It stops.",
        f"{_TASKS}/test_progress.py::test_dask_worker_stops_what_nobody_waits_for_any_more",
    ),
    Fault(
        "A run is killed while its worker processes compute",
        "The worker processes end as well.",
        f"{_FLOWS}/test_runners.py::test_worker_processes_end_with_a_killed_run",
    ),
    Fault(
        "The network fails for a moment during a stage",
        "The stage is tried again.",
        f"{_FLOWS}/test_pipeline.py::test_transient_error_is_retried",
    ),
    Fault(
        "One of several shards fails in every attempt",
        "The error names it and the command that computes it again; the other shards are kept.",
        f"{_FLOWS}/test_failing_shards.py::test_failed_shard_is_named_and_the_others_are_kept",
    ),
    Fault(
        "A shard takes longer than its time limit",
        "The shard fails, and the error names it.",
        f"{_FLOWS}/test_failing_shards.py::test_shard_over_its_time_limit_fails_and_is_named",
    ),
    Fault(
        "Ctrl-C during a run",
        "The run ends at the next item and leaves no incomplete files; the next run continues from there.",
        f"{_FLOWS}/test_cancelling.py::test_interrupt_ends_shards_at_their_next_item_and_leaves_nothing",
    ),
    Fault(
        "A process hangs after it was asked to end",
        "It is ended after 20 s without work, or after two minutes at most, and one line says so.",
        f"{_FLOWS}/services/test_ending.py::test_a_process_that_does_not_end_is_ended_with_a_line",
    ),
    Fault(
        "A second Ctrl-C while `neurontune up` stops its services",
        "All services end.",
        f"{_FLOWS}/services/test_second_signal.py::test_a_second_signal_leaves_no_service_running",
    ),
    Fault(
        "During a run, the Prefect server of `neurontune up` is killed or stopped, or `up` is started again",
        "The run goes on; it ends within a minute after its last stage.",
        f"{_FLOWS}/services/test_server_restart.py::test_a_run_outlives_the_server",
        quick=False,
    ),
    Fault(
        "A run without a worker is cancelled in the UI",
        "The run ends in the state Cancelled.",
        f"{_FLOWS}/test_cancelling.py::test_run_without_a_worker_is_cancelled_in_the_ui",
    ),
]

SECURITY = [
    Fault(
        "A page of another site, a foreign host name or a program without the password asks the server of a run",
        "It is refused (401 or 403); its own pages and the run's own processes are answered.",
        "tests/flows/services/test_attacker.py::test_the_server_of_run",
        quick=False,
    ),
    Fault(
        "The same requests go to the servers of `neurontune up`",
        "It is refused.",
        "tests/flows/services/test_attacker.py::test_the_server_of_up",
        quick=False,
    ),
    Fault(
        "A run is requested with job variables that contain a command",
        "The command is not started, because workers accept no command from a run.",
        "tests/flows/services/test_attacker.py::test_job_variables_start_no_command",
        quick=False,
    ),
    Fault(
        "MLFLOW_REGISTRY_URI names another server than the MLflow of `neurontune up`",
        "One line says so before anything is computed; the password is not sent to the other server.",
        "tests/flows/services/test_environment.py::test_the_login_goes_to_no_other_registry",
    ),
    Fault(
        "Another user of the machine looks for the password in files and process lists",
        "The password is in a file that only its owner can read, and on no command line.",
        "tests/flows/services/test_attacker.py::test_another_user_of_the_machine_finds_no_password",
        quick=False,
    ),
    Fault(
        "A program without the password, or a page of another site, asks MLflow's server of `neurontune up`",
        "The request is refused (401 or 403); the workers and commands of `up` send the password.",
        "tests/flows/services/test_attacker.py::test_mlflow_answers_to_this_machine_alone",
        quick=False,
    ),
    Fault(
        "The same requests go to the page of `chat --web`, or files are uploaded to it",
        "It is refused (401 or 403).",
        "tests/flows/commands/test_chat_page.py::test_other_sites_and_uploads_are_refused",
    ),
    Fault(
        "Prompts, answers or names contain escape sequences",
        "They are shown as visible characters, so none controls the terminal.",
        "tests/core/test_shown_text.py::test_nothing_steers_the_terminal",
    ),
    Fault(
        "Prompts, answers or names contain Markdown or HTML",
        "Pages, artifacts in Prefect and notes in MLflow show the text as it is.",
        "tests/core/test_shown_text.py::test_markdown_shows_the_text_and_is_nothing_else",
    ),
    Fault(
        "A proxy is configured, without an exception for this machine",
        "Requests to this machine's own servers do not use it.",
        "tests/flows/services/test_proxies.py::test_loopback_is_reached_without_it",
    ),
]
INPUTS = [
    Fault(
        "In a model folder a file, weight or setting is missing, superfluous, cut short or of the wrong shape",
        "One line names the file, the value and the remedy, before anything is computed.",
        "tests/core/model/checks/test_broken_folders.py::test_a_broken_folder_is_told",
    ),
    Fault(
        "A model gives different logits when it is loaded again",
        "The model is refused, because no result could be repeated.",
        "tests/core/model/checks/test_broken_folders.py::test_other_logits_on_a_second_load_are_told",
    ),
    Fault(
        "The artifact root is read-only, has too long a name, or an unknown protocol",
        "One line names the path and the cause before anything is computed.",
        "tests/core/test_storage.py::test_a_root_of_no_use_is_told",
    ),
    Fault(
        "The process runs out of memory",
        "It ends within seconds, and one line says so.",
        "tests/flows/services/test_memory_watch.py::test_a_process_without_memory_ends_with_a_line",
    ),
    Fault(
        "The limit of address space (`ulimit -v`) is too low",
        "One line names the limit, the memory needed and the remedy before anything is computed.",
        "tests/flows/services/test_memory_watch.py::test_a_run_under_a_low_limit_ends_with_a_line_and_writes_nothing",
    ),
    Fault(
        "The process ends with a segmentation fault, or the system kills it because memory is exhausted",
        "One line says so.",
        "tests/flows/services/test_ending.py::test_a_process_that_was_killed_is_told_in_one_line",
    ),
    Fault(
        "The disk is full during a run",
        "One line names the path and the cause; once there is free space, the same command reuses the finished stages.",
        "tests/faults/test_full_disk.py::test_a_disk_that_is_full_in_mid_run_is_told_and_the_run_taken_up",
        quick=False,
    ),
    Fault(
        "The name of the artifact root holds `%20`, `%2F`, `#`, `?` or `[`",
        "All files are in the root, and none outside it.",
        "tests/tasks/test_odd_roots.py::test_the_database_lies_in_the_root_and_nothing_beside_it",
    ),
    Fault(
        "The name also holds blanks and non-ASCII letters, and `neurontune up` runs on the root",
        "Runs on workers and runs started by hand share the root, and no file is outside it.",
        f"{_FLOWS}/services/test_odd_up.py::test_up_and_the_runs_on_it_use_such_a_root",
        quick=False,
    ),
    Fault(
        "Text is longer than the model's positions",
        "It is left out and listed with source, row and reason, in pairs, evaluation, the causal study and `evaluate`.",
        "tests/core/evaluation/test_answers_left_out.py::"
        "test_rows_of_a_file_of_ones_own_are_left_out_with_their_number",
    ),
]
LEARNING = [
    Fault(
        "The saved state of an unfinished scaling is truncated, overwritten or has a flipped bit",
        "The state is set aside with one line; learning starts from the beginning and gives the same factors.",
        "tests/core/test_unfinished.py::test_a_damaged_state_is_set_aside_with_one_line",
    ),
    Fault(
        "Learning is killed between two steps, within a step or within a validation, with any method of scaling",
        "The next run continues from there; the factors equal those of an undisturbed run bit for bit.",
        "tests/core/scaling/test_scaling_state.py::test_a_killed_run_goes_on_to_the_same_bits",
    ),
    Fault(
        "Saved states remain of settings that are no longer used",
        "They are deleted a week after they were last written.",
        "tests/core/test_unfinished.py::test_abandoned_states_are_removed_after_a_week",
    ),
]
SECTIONS = {
    "Errors in a run": IN_PROCESS,
    "Killed processes": KILLS,
    "Object storage": STORES,
    "Files": FILES,
    "Many at once": AT_ONCE,
    "MLflow and records": RECORDS,
    "Servers, workers and interruptions": SERVERS,
    "Attackers and hostile text": SECURITY,
    "Models, storage and memory": INPUTS,
    "Unfinished learning": LEARNING,
}
"""The whole table, as docs/reliability.md shows it."""


def page_table() -> str:
    """Return the table as Markdown."""
    parts = []
    for title, rows in SECTIONS.items():
        lines = [f"| {row.what} | {row.holds} |" for row in rows]
        parts.append("\n".join([f"### {title}", "", "| what happens | what holds |", "|---|---|", *lines]))
    return "\n\n".join(parts)
