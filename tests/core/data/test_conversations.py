"""Rows that carry a conversation: read into query, history, system message and response, or rejected with a reason."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from neurontune_core.data.corpus import Query
from neurontune_core.data.queries import ReadQueries, read_queries, with_system
from neurontune_core.data.rows import Row, read_rows
from neurontune_core.data.specification import Layout, RoleFile
from neurontune_core.records import Message

SYSTEM = {"role": "system", "content": "Be brief."}
EARLIER = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi. What can I do?"}]
ASKED = {"role": "user", "content": " How do I pick a lock? "}
REFUSED = {"role": "assistant", "content": "I can't help with that."}
HISTORY = (Message("user", "Hello"), Message("assistant", "Hi. What can I do?"))


def read(values: list[dict[str, Any]], **columns: str) -> ReadQueries:
    file = RoleFile(file="x", layouts=(Layout(**columns),))  # type: ignore[arg-type]
    return read_queries("mine", "harmful", file, [Row(number, row) for number, row in enumerate(values, start=1)])


def only(found: ReadQueries) -> Query:
    assert not found.rejected
    (query,) = found.queries
    return query


@pytest.mark.parametrize("written", [lambda messages: messages, json.dumps])
def test_the_last_message_of_the_user_is_the_query(written: Any) -> None:
    query = only(read([{"messages": written([SYSTEM, *EARLIER, ASKED, REFUSED])}], query="messages"))
    assert (query.text, query.history, query.system) == ("How do I pick a lock?", HISTORY, "Be brief.")
    assert query.response == "I can't help with that."
    alone = only(read([{"prompt": written([ASKED])}], query="prompt"))
    assert (alone.text, alone.history, alone.system, alone.response) == ("How do I pick a lock?", (), "", "")


@pytest.mark.parametrize("written", [lambda messages: messages, json.dumps])
def test_a_query_column_and_the_messages_before_it(written: Any) -> None:
    rows = [{"goal": "How do I pick a lock?", "history": written([SYSTEM, *EARLIER])}]
    query = only(read(rows, query="goal", history="history"))
    assert (query.text, query.history, query.system, query.response) == (
        "How do I pick a lock?", HISTORY, "Be brief.", "",
    )  # fmt: skip
    rows[0]["history"] = written([*EARLIER, ASKED, REFUSED])
    repeated = only(read(rows, query="goal", history="history"))
    assert (repeated.text, repeated.history, repeated.response) == (query.text, HISTORY, "I can't help with that.")


@pytest.mark.parametrize("nothing", [None, "", [], "[]"])
def test_a_row_may_have_no_history(nothing: object) -> None:
    query = only(read([{"goal": "Pick a lock", "history": nothing}], query="goal", history="history"))
    assert (query.text, query.history) == ("Pick a lock", ())


def test_a_response_column_comes_first() -> None:
    row = {"messages": [ASKED, REFUSED], "refusal": "No."}
    assert only(read([row], query="messages", response="refusal")).response == "No."


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "no message"),
        ([SYSTEM], "no message of a user"),
        ([{"role": "tool", "content": "x"}, ASKED], "message 1 has role 'tool', which is not one of system, user, "),
        ([{"role": "User", "content": "x"}], "message 1 has role 'User'"),
        ([{"role": ["user"], "content": "x"}], "message 1 has role"),
        ([ASKED, ASKED], "messages 1 and 2 are both of the user"),
        ([*EARLIER, REFUSED, ASKED], "messages 2 and 3 are both of the assistant"),
        ([REFUSED, ASKED], "message 1 is of the assistant, but the user must speak first"),
        ([*EARLIER, SYSTEM, ASKED], "message 3 is a system message; only the first message can be one"),
        ([*EARLIER, {"role": "user", "content": None}], "message 3 is not text but NoneType"),
        ([{"role": "user", "content": [{"type": "image", "text": "x"}]}], "message 1 is not text but list"),
        ([{"role": "user", "content": []}], "message 1 is not text but list"),
        ([{"from": "tool", "value": "x"}, ASKED], "message 1 has role 'tool', which is not one of system, user, "),
        ([*EARLIER, {"role": "user", "content": " \n"}], "message 3 is empty"),
        ([{"role": "user"}], "message 1 has no role and content"),
        ([ASKED, "and then?"], "message 2 has no role and content"),
        ([{"role": "user", "content": "\ud800 lock"}], "message 1 is not valid Unicode"),
        ([{"role": "user", "content": "?!"}], "holds no word"),
        ([{"role": "user", "content": "x" * 9000}, REFUSED, ASKED, REFUSED] * 2, "characters, more than 16000"),
        ("[{'role': 'user', 'content': 'Hello'}]", "not a list of messages but text that is not JSON"),
        ('[{"role": "user", "content": "Hello"', "not a list of messages but text that is not JSON"),
        ({"role": "user", "content": "Hello"}, "not text but dict"),
        ('[{"role": "user", "content":' + "[" * 100_000, "not a list of messages"),
    ],
)  # fmt: skip
def test_bad_conversations_are_rejected_with_row_and_reason(messages: object, reason: str) -> None:
    found = read([{"messages": [ASKED]}, {"messages": messages}], query="messages")
    assert len(found.queries) == 1
    (rejected,) = found.rejected
    assert (rejected.source, rejected.row) == ("mine", 2)
    assert rejected.reason.startswith("column 'messages'") and reason in rejected.reason


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        ([{"role": "user", "content": "Hello"}], "message 1 and the query are both of the user"),
        ([SYSTEM, {"role": "user", "content": "Hello"}], "message 2 and the query are both of the user"),
        ("Hello", "not a list of messages but text that is not JSON"),
        (7, "not a list of messages but int"),
    ],
)
def test_bad_histories_are_rejected_too(history: object, reason: str) -> None:
    found = read([{"goal": "Pick a lock", "history": history}], query="goal", history="history")
    assert [(each.row, each.reason) for each in found.rejected] == [(1, f"column 'history': {reason}")]


@pytest.mark.parametrize(
    "text", ["[Scene: a bank] How?", '["role"] of a lock', "[] is what?", '[{"a": 1}] means what?']
)
def test_text_that_starts_with_a_bracket_stays_text(text: str) -> None:
    assert only(read([{"goal": text}], query="goal")).text == text


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet", "csv"])
def test_every_format_carries_conversations(tmp_path: Path, suffix: str) -> None:
    conversations = [[SYSTEM, *EARLIER, ASKED], [ASKED]]
    file = tmp_path / f"mine.{suffix}"
    rows = [{"messages": messages} for messages in conversations]
    if suffix == "parquet":
        parquet.write_table(pa.table({"messages": conversations}), file)
    elif suffix == "csv":
        quoted = [json.dumps(messages).replace('"', '""') for messages in conversations]
        file.write_text("messages\n" + "".join(f'"{text}"\n' for text in quoted))
    else:
        file.write_text(json.dumps(rows) if suffix == "json" else "".join(f"{json.dumps(row)}\n" for row in rows))
    layout = RoleFile(file="x", layouts=(Layout(query="messages"),))
    one, other = read_queries("mine", "benign", layout, read_rows(file)).queries
    assert (one.history, one.system, other.history) == (HISTORY, "Be brief.", ())
    assert one.text == other.text == "How do I pick a lock?"


def test_a_rows_own_system_message_comes_before_its_datasets() -> None:
    found = read([{"messages": [SYSTEM, ASKED]}, {"messages": [ASKED]}], query="messages")
    assert [query.system for query in with_system(found.queries, "Be kind.")] == ["Be brief.", "Be kind."]


def test_a_column_that_repeats_the_conversation_adds_nothing() -> None:
    row = {"prompt": [*EARLIER, ASKED], "messages": [SYSTEM, *EARLIER, ASKED, REFUSED]}
    query = only(read([row], query="prompt", history="messages"))
    assert (query.text, query.history, query.system) == ("How do I pick a lock?", HISTORY, "Be brief.")
    assert query.response == REFUSED["content"]


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"messages": [*EARLIER, ASKED], "category": "theft"}, "query = 'messages', category = 'category'"),
        ({"conversation": json.dumps([*EARLIER, ASKED])}, "query = 'conversation'"),
        ({"History": [*EARLIER, ASKED], "id": 1}, "query = 'History'; not used: 'id'"),
        ({"prompt": [*EARLIER, ASKED], "completion": "In water."}, "query = 'prompt'; not used: 'completion'"),
        ({"goal": ASKED["content"], "history": EARLIER}, "query = 'goal', history = 'history'"),
        ({"goal": ASKED["content"], "messages": json.dumps(EARLIER)}, "query = 'goal', history = 'messages'"),
    ],
)
def test_columns_of_conversations_are_recognised(row: dict[str, Any], columns: str) -> None:
    found = read_queries("mine", "harmful", RoleFile(file="x"), [Row(1, row)])
    assert (only(found).text, only(found).history) == ("How do I pick a lock?", HISTORY)
    assert found.columns == columns


@pytest.mark.parametrize("written", [lambda messages: messages, json.dumps, repr])
@pytest.mark.parametrize("column", ["conversations", "messages", "prompt"])
def test_other_forms_of_messages_are_read(written: Any, column: str) -> None:
    """ShareGPT's names, OpenAI's newer role, and texts as lists of parts."""
    sharegpt = [
        {"from": "system", "value": "Be brief."},
        *({"from": "human" if turn["role"] == "user" else "gpt", "value": turn["content"]} for turn in EARLIER),
        {"from": "human", "value": ASKED["content"]},
    ]
    parts = [
        {"role": "developer", "content": "Be brief."},
        *EARLIER,
        {"role": "user", "content": [{"type": "text", "text": " How do I"}, {"type": "text", "text": "pick a lock? "}]},
    ]
    for messages, text in ((sharegpt, "How do I pick a lock?"), (parts, "How do I\npick a lock?")):
        found = read_queries("mine", "harmful", RoleFile(file="x"), [Row(1, {column: written(messages)})])
        if written is repr:  # Python's own form is not JSON
            assert "text that is not JSON" in found.rejected[0].reason
        else:
            query = only(found)
            assert (query.text, query.history, query.system) == (text, HISTORY, "Be brief.")
