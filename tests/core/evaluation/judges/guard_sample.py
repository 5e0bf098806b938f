"""A tiny random model in the place of a guard model, and a tokenizer of whole words."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def save_tokenizer(folder: Path, words: list[str], template: str | None, longest: int) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", eos_token="</s>", model_max_length=longest
    )
    fast.chat_template = template
    fast.save_pretrained(folder)


def save(folder: Path, template: str | None) -> None:
    words = ["[PAD]", "[UNK]", "</s>", "unsafe", "safe", "yes", "no"]
    save_tokenizer(folder, words, template, 600)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), max_position_embeddings=700, **sizes)).save_pretrained(folder)
