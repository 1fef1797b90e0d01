"""The fixed conversations of training.json: what training's encoder makes of them, null where it refuses them."""

from tests.conftest import make_tiny_tokenizer
from training.encoded_examples import CONVERSATIONS, RESPONSE, encoding_record
from training.encoding import prompt_ids, terminator_of


def test_each_conversation_is_encoded_as_training_encodes_it(tiny_tokenizer):
    record = encoding_record(tiny_tokenizer)
    *plain, typed = record["encoded_examples"]
    assert [example["ids"] for example in plain] == [prompt_ids(e["messages"], tiny_tokenizer) for e in plain]
    assert len(plain) == len(CONVERSATIONS)
    assert "<|im_end|>" in typed["messages"][0]["content"] and typed["ids"] is None, "training refuses such a text"
    response = record["encoded_response"]
    assert (
        response["ids"][-1] == terminator_of(tiny_tokenizer) and tiny_tokenizer.decode(response["ids"][:-1]) == RESPONSE
    )


def test_a_role_that_the_template_refuses_is_told_apart():
    tokenizer = make_tiny_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + tokenizer.chat_template
    )
    refused = [e for e in encoding_record(tokenizer)["encoded_examples"] if e["ids"] is None]
    assert [e["messages"][0]["role"] for e in refused] == ["system", "user"]


def test_they_hold_what_breaks_tokenizers():
    text = "".join(content for turns in CONVERSATIONS for _, content in turns)
    assert all(
        piece in text for piece in ("长城", "👩‍👩‍👧‍👦", "５", "Ｌｅｔｔｅｒｓ", "\t", "\n\n", "12,345.67", "def f")
    )
    assert max(len(turns) for turns in CONVERSATIONS) > 2 and any(t[0][0] == "system" for t in CONVERSATIONS)
    assert max(len(content) for turns in CONVERSATIONS for _, content in turns) > 500
