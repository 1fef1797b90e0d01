"""A tokenizer as a GGUF file describes it, so that llama.cpp makes the same tokens of the same text."""

import json
from pathlib import Path
from typing import Any

import gguf

from command import UserError

LLAMA3_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# How a text is cut before the merges, in tokenizer.json → (llama.cpp's name for it, whether whole words skip the merges).
PRE_TOKENIZERS = {
    "bytes": ("gpt-2", False),
    "digits bytes": ("smollm", False),
    f"split:{LLAMA3_WORDS} pieces": ("llama-bpe", True),
}


def read_tokenizer(folder: Path) -> dict[str, Any]:
    """tokenizer.json. UserError if there is none, or it is of a kind that llama.cpp would not follow to the token."""
    path = folder / "tokenizer.json"
    try:
        tokenizer = json.loads(path.read_text(encoding="utf-8"))
        model, added = tokenizer["model"], tokenizer["added_tokens"]
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Copy or download the model again.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is broken ({error!r}). Copy or download the model again.") from None
    if model.get("type") != "BPE" or model.get("byte_fallback") or tokenizer.get("normalizer"):
        raise UserError(f"{path} is no byte-level BPE without a normalizer, the only kind that is exported.")
    for token in added:
        if token.get("lstrip") or token.get("rstrip") or token.get("single_word"):
            raise UserError(f"{path}: {token['content']!r} takes in the blanks beside it, which GGUF cannot say.")
    pre_tokenizer(tokenizer, path)
    return tokenizer


def pre_tokenizer(tokenizer: dict[str, Any], path: Path) -> str:
    """llama.cpp's name of the way this tokenizer cuts text. UserError if it knows none that is exactly that."""
    pre = tokenizer.get("pre_tokenizer") or {}
    parts = pre.get("pretokenizers", [pre])
    spelling = " ".join(map(_spelling, parts))
    name, whole_words = PRE_TOKENIZERS.get(spelling, (None, None))
    if name is None or bool(tokenizer["model"].get("ignore_merges")) != whole_words:
        known = ", ".join(name for name, _ in PRE_TOKENIZERS.values())
        raise UserError(
            f"{path} cuts text in a way ({spelling or 'none'}) that is none of the exported ones: {known}. "
            "Tokens in llama.cpp would differ from those that the model was trained on."
        )
    return name


def _spelling(part: dict[str, Any]) -> str:
    """One pre-tokenizer in a word or two, by what changes its cuts."""
    kind = part.get("type")
    if kind == "ByteLevel" and not part.get("add_prefix_space"):
        return "bytes" if part.get("use_regex", True) else "pieces"
    if kind == "Digits" and part.get("individual_digits"):
        return "digits"
    if kind == "Split" and part.get("behavior") == "Isolated" and not part.get("invert"):
        return f"split:{part['pattern'].get('Regex')}"
    return json.dumps(part)


def token_list(tokenizer: dict[str, Any], rows: int) -> tuple[list[str], list[gguf.TokenType]]:
    """Spelling and kind of the `rows` tokens that the embeddings have; rows without a token are unused."""
    names = {number: text for text, number in tokenizer["model"]["vocab"].items()}
    kinds = dict.fromkeys(names, gguf.TokenType.NORMAL)
    for token in tokenizer["added_tokens"]:
        names[token["id"]] = token["content"]
        kinds[token["id"]] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    if max(names) >= rows:
        raise UserError(f"the tokenizer has token {max(names)}, the model only {rows} rows of embeddings.")
    texts = [names.get(number, f"[PAD{number}]") for number in range(rows)]
    return texts, [kinds.get(number, gguf.TokenType.UNUSED) for number in range(rows)]


def merges(tokenizer: dict[str, Any]) -> list[str]:
    """The merges, in order, as GGUF spells them; byte-level parts hold no blanks."""
    return [pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["model"]["merges"]]


def end_tokens(stops: list[int], eos: int, terminator: int | None) -> dict[str, int]:
    """GGUF's names of the stop tokens: `eos` the tokenizer's own, `eot` what ends a turn, `eom` one more.

    llama.cpp ends an answer at each. UserError if there are more, which GGUF has no names for.
    """
    others = [stop for stop in dict.fromkeys([terminator, *stops]) if stop not in (None, eos)]
    if len(others) > 2:
        raise UserError(f"the model has {len(others) + 1} stop tokens ({[eos, *others]}); a GGUF file can name three.")
    return {"eos": eos, **dict(zip(("eot", "eom"), others, strict=False))}


def add_vocabulary(writer: gguf.GGUFWriter, tokenizer: dict[str, Any], rows: int, special: dict[str, Any]) -> None:
    """Add the tokenizer's keys. `special` holds ids by GGUF's names, `add_bos`, and the `chat_template`."""
    texts, kinds = token_list(tokenizer, rows)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(tokenizer, Path("tokenizer.json")))
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges(tokenizer))
    for name, number in special["ids"].items():
        getattr(writer, f"add_{name}_token_id")(number)
    writer.add_add_bos_token(special["add_bos"])
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(special["chat_template"])
