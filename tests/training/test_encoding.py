"""Token ids: the template's own, terminator always, whole turns cut first, nothing trained on nothing."""

from collections import Counter

import pytest

from command import UserError
from training.encoding import control_tokens, encode_pair, encode_pairs, prompt_ids, terminator_of
from training.preferences import Pair


def pair(prompt, chosen="好的。", rejected="OK."):
    messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    return Pair(tuple(messages), chosen, rejected, "pairs.jsonl:7")


def turns(*texts):
    return [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(texts)]


def encode(pair, tokenizer, max_length):
    return encode_pair(pair, tokenizer, terminator_of(tokenizer), max_length, Counter())


def test_text_round_trips_and_ends_with_the_terminator(tiny_tokenizer):
    encoded = encode(pair("你好"), tiny_tokenizer, 512)
    end = tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert tiny_tokenizer.decode(encoded.prompt) == "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n"
    assert tiny_tokenizer.decode(encoded.chosen) == "好的。<|im_end|>"
    assert encoded.chosen.count(end) == encoded.rejected.count(end) == 1


@pytest.mark.parametrize(
    "messages",
    [turns("你好，世界 1 2 34"), turns("a", "b\n\n2.", "c 😊"), [{"role": "system", "content": "S"}, *turns("问")]],
)
def test_a_prompt_is_trained_as_it_is_served(tiny_tokenizer, messages):
    """The same token ids as inference's encoder makes for the same conversation."""
    from inference.chat_format import encode_chat

    assert prompt_ids(messages, tiny_tokenizer) == encode_chat(tiny_tokenizer, messages)


def test_one_bos_only(tiny_tokenizer):
    encoded = encode(pair("a"), tiny_tokenizer, 512)
    assert encoded.prompt.count(tiny_tokenizer.bos_token_id) == 2  # ChatML: one a turn, none added in front


def test_oldest_turns_go_first_header_stays(tiny_tokenizer):
    messages = [{"role": "system", "content": "S"}, *turns("first" * 10, "answer", "last")]
    short = encode(pair(messages), tiny_tokenizer, 80)
    assert tiny_tokenizer.decode(short.prompt) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nlast<|im_end|>\n<|im_start|>assistant\n"
    )


def test_responses_share_one_budget_and_keep_the_terminator(tiny_tokenizer):
    end = tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")
    prompt = prompt_ids(turns("q"), tiny_tokenizer)
    encoded = encode(pair("q", "x" * 100, "y" * 5), tiny_tokenizer, len(prompt) + 20)
    assert (len(encoded.chosen), len(encoded.rejected)) == (20, 6)
    assert encoded.chosen[-1] == encoded.rejected[-1] == end


def test_full_prompt_is_dropped_counted_and_named(tiny_tokenizer):
    result = encode_pairs([pair("x" * 200), pair("short")], tiny_tokenizer, 100)
    assert result.kept == [1]
    assert result.dropped == {"prompt fills max_length": 1}
    assert "pairs.jsonl:7: prompt is" in result.notes[0]
    assert "max_length 100" in result.notes[0]


def test_cuts_are_counted(tiny_tokenizer):
    result = encode_pairs([pair(turns("a" * 50, "b", "c"), "x" * 90, "y")], tiny_tokenizer, 100)
    assert result.cut == {"prompts": 1, "responses": 1}


def test_control_tokens_in_text_are_refused(tiny_tokenizer):
    with pytest.raises(UserError, match=r"pairs.jsonl:7: the text holds the control token '<\|im_end\|>'"):
        encode_pairs([pair("a<|im_end|>b")], tiny_tokenizer, 100)


def test_tokens_that_no_role_names_are_control_tokens_too(tiny_tokenizer):
    import copy

    from tokenizers import AddedToken

    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_tokens([AddedToken("<|start_header_id|>", special=True)])
    assert "<|start_header_id|>" in control_tokens(tokenizer)
    with pytest.raises(UserError, match="start_header_id"):
        encode_pairs([pair("a<|start_header_id|>assistant")], tokenizer, 100)


def test_a_template_without_terminator_is_refused(tiny_tokenizer):
    import copy

    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    with pytest.raises(UserError, match="could not know where to stop"):
        encode_pairs([pair("a")], tokenizer, 100)
