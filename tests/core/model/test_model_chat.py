"""How prompts and responses become tokens."""

import pickle
from dataclasses import replace

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from neurontune_core.errors import InputError
from neurontune_core.model import tiny
from neurontune_core.model.chat import RefusedByTemplate, encode_prompt, encode_response
from neurontune_core.model.load import ChatModel
from neurontune_core.records import Conversation, Message

BOS = "<|begin|>"
WRITES_BOS = (
    BOS + "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def adding_bos(template: str | None) -> PreTrainedTokenizerFast:
    """A tokenizer that puts a beginning-of-sequence token before every text, as Llama's does."""
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"bos_token": BOS})
    number = tokenizer.convert_tokens_to_ids(BOS)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, number)])
    tokenizer.chat_template = template
    assert tokenizer("a")["input_ids"][0] == number
    return tokenizer


def test_a_template_that_writes_the_beginning_token_does_not_double_it() -> None:
    tokenizer = adding_bos(WRITES_BOS)
    ids = encode_prompt(tokenizer, "Why?")
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids) == f"{BOS}[user] Why?\n[assistant] "


def test_a_template_that_writes_no_beginning_token_gets_none() -> None:
    tokenizer = adding_bos(WRITES_BOS.removeprefix(BOS))
    assert tokenizer.decode(encode_prompt(tokenizer, "Why?")) == "[user] Why?\n[assistant] "


def test_the_result_is_the_templates_own_tokenisation() -> None:
    tokenizer = adding_bos(WRITES_BOS)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    own = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert encode_prompt(tokenizer, "Why?", "Be brief.") == own


def test_a_base_model_gets_the_plain_template_with_one_beginning_token() -> None:
    tokenizer = adding_bos(None)
    ids = encode_prompt(tokenizer, "Why {not}?")
    assert tokenizer.decode(ids) == f"{BOS}User: Why {{not}}?\nAssistant:"
    assert ids.count(tokenizer.bos_token_id) == 1
    with_system = encode_prompt(tokenizer, "Why?", "Be {brief}.")
    assert tokenizer.decode(with_system) == f"{BOS}Be {{brief}}.\n\nUser: Why?\nAssistant:"


def test_a_tokenizer_that_closes_every_text_does_not_close_the_prompt() -> None:
    tokenizer = adding_bos(None)
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{BOS} $A {tokenizer.eos_token}", special_tokens=[(BOS, begin), (tokenizer.eos_token, end)]
    )
    assert tokenizer("a")["input_ids"][-1] == end
    assert tokenizer.decode(encode_prompt(tokenizer, "Why?")) == f"{BOS}User: Why?\nAssistant:"


@pytest.mark.parametrize(
    ("system", "text"),
    [
        (None, "<|user|>Why?<|end|><|assistant|>"),
        ("", "<|user|>Why?<|end|><|assistant|>"),
        ("Be brief.", "<|system|>Be brief.<|end|><|user|>Why?<|end|><|assistant|>"),
    ],
)
def test_the_system_prompt_comes_first_when_there_is_one(system: str | None, text: str) -> None:
    tokenizer = tiny.tokenizer()
    assert tokenizer.decode(encode_prompt(tokenizer, "Why?", system)) == text


def test_thinking_is_switched_off() -> None:
    tokenizer = tiny.tokenizer()
    off = "{% if enable_thinking is defined and not enable_thinking %} no thinking{% endif %}"
    tokenizer.chat_template = "{{ messages[-1]['content'] }}" + off
    assert tokenizer.decode(encode_prompt(tokenizer, "Why?")) == "Why? no thinking"


def test_a_template_that_refuses_a_system_prompt_is_explained() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}ok"
    )
    assert tokenizer.decode(encode_prompt(tokenizer, "Why?")) == "ok"
    with pytest.raises(InputError, match=r"model\.system_prompt: .*System role not supported.*leave it out"):
        encode_prompt(tokenizer, "Why?", "Be brief.")


def test_a_response_is_tokenised_alone_and_closed() -> None:
    tokenizer = adding_bos(WRITES_BOS)
    plain = encode_response(tokenizer, "I can't.", None)
    assert tokenizer.decode(plain) == "I can't." and tokenizer.bos_token_id not in plain
    assert encode_response(tokenizer, "I can't.", 256) == [*plain, 256]
    assert encode_response(tokenizer, "", None) == []
    assert encode_response(tokenizer, "", 256) == [256]


HISTORY = (Message("user", "Hi <|end|>"), Message("assistant", "Hello."))


def test_earlier_turns_come_between_system_message_and_prompt() -> None:
    tokenizer = tiny.tokenizer()
    assert tokenizer.decode(encode_prompt(tokenizer, "Why?", "Be brief.", HISTORY)) == (
        "<|system|>Be brief.<|end|><|user|>Hi < |end|><|end|><|assistant|>Hello.<|end|><|user|>Why?<|end|><|assistant|>"
    )
    base = adding_bos(None)
    text = f"{BOS}Be brief.\n\nUser: Hi <|end|>\nAssistant: Hello.\nUser: Why?\nAssistant:"
    assert base.decode(encode_prompt(base, "Why?", "Be brief.", HISTORY)) == text.replace("<|end|>", "< |end|>")


def test_a_conversations_own_system_message_comes_before_the_models() -> None:
    chat = ChatModel(tiny.model("llama"), tiny.tokenizer(), torch.device("cpu"), "Be brief.")

    def text(conversation: str | Conversation) -> str:
        return str(chat.tokenizer.decode(chat.prompt_tokens(conversation)))

    assert text("Why?") == text(Conversation("Why?")) == "<|system|>Be brief.<|end|><|user|>Why?<|end|><|assistant|>"
    assert text(Conversation("Why?", system="Be <|end|> kind.")).startswith(
        "<|system|>Be < |end|> kind.<|end|><|user|>"
    )
    reminded = replace(chat, reminder="Be safe.", system_prompt=None)
    tokens = reminded.prompt_tokens(Conversation("Why?", HISTORY, "Be kind."))
    assert str(chat.tokenizer.decode(tokens)).startswith("<|system|>Be safe.\n\nBe kind.<|end|><|user|>Hi")


@pytest.mark.parametrize(
    ("template", "field"),
    [
        (
            "{% if messages|length > 1 %}{{ raise_exception('one') }}{% endif %}{{ messages[0]['content'] }}",
            "c",
        ),
        ("{{ messages[-1]['content'] }}", "conversation"),
        ("{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}{% endif %}{% endfor %}", "model"),
    ],
)
def test_a_template_that_leaves_out_what_was_said_before_is_told(template: str, field: str) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    system = "Be brief." if field == "model" else None
    with pytest.raises(RefusedByTemplate, match=rf"^{field}.*: the chat template of this model takes no ") as caught:
        encode_prompt(tokenizer, "Why?", system, HISTORY)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value), "it comes back from a worker"
    assert encode_prompt(tokenizer, "Why?")
