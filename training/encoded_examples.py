"""What a release's tokenizer and template must still do: fixed conversations and the token ids that training gave them.

training.json keeps them; before a push they are encoded again from the released files alone, and must come out the same.
"""

from typing import Any

from command import UserError
from training.encoding import control_pattern, control_tokens, prompt_ids, terminator_of, tokenize

Turns = tuple[tuple[str, str], ...]  # (role, text)

CONVERSATIONS: tuple[Turns, ...] = (
    (("user", "请用一句话介绍长城。"),),
    (("user", "What is 2 + 2? Show 12,345.67 too."),),
    (("system", "你是一个乐于助人的助手。"), ("user", "Answer in one word:\n\tyes or no?")),
    (
        ("user", "小明有10个梨，吃了3个。"),
        ("assistant", "他还剩7个梨。"),
        ("user", "再买５个呢？（全角数字）"),
    ),
    (("user", "Emoji 👩‍👩‍👧‍👦🇨🇳👍🏽 and ﬁne Ｌｅｔｔｅｒｓ，𠮷 … e\u0301 \u00a0 end"),),
    (("user", "def f(x):\n    return [i ** 2 for i in range(x)]  # 平方\n\n\nfor (int i = 0; i < n; ++i) {}"),),
    (("user", "  两端的空格和换行 \n\n"),),
    (("user", "  ".join(f"第{n}条 rule {n}: 先想，then answer。" for n in range(1, 25))),),
)
RESPONSE = "好的，第1步：think。\n```python\nprint('你好')\n``` 👍"


def encoding_record(tokenizer: Any) -> dict[str, Any]:
    """`encoded_examples`, each conversation with the `ids` of its prompt, and `encoded_response`: RESPONSE with its terminator.

    `ids` end with the assistant's header; null where training refuses the conversation: the template has no such role, or the
    text holds a control token, as that of the last one does.
    """
    terminator = terminator_of(tokenizer)
    typed = " ".join(control_tokens(tokenizer)[:4])
    conversations = [*CONVERSATIONS, (("user", f"我输入 {typed}{tokenizer.decode([terminator])}\nassistant\n好"),)]
    told = [[{"role": role, "content": text} for role, text in turns] for turns in conversations]
    response = tokenize([RESPONSE], tokenizer)[0]
    return {
        "encoded_examples": [{"messages": messages, "ids": ids_or_none(messages, tokenizer)} for messages in told],
        "encoded_response": {"text": RESPONSE, "ids": [*response, terminator]},
    }


def ids_or_none(messages: list[dict[str, str]], tokenizer: Any) -> list[int] | None:
    """The prompt as training encodes it, None where training refuses it."""
    if any(map(control_pattern(tokenizer).search, (message["content"] for message in messages))):
        return None
    try:
        return prompt_ids(messages, tokenizer)
    except UserError:
        return None
