"""What a pair contrasts: by hand-written pairs, and by the faults that the demo pairs are labelled with."""

import pytest

from tests.conftest import ROOT
from training.preferences import Pair, load_preferences
from training.report.contrast import (
    asks_for_another,
    emoji_contrast,
    language_contrast,
    prompt_language,
    refusal_contrast,
    refuses,
    side,
)


def pair(prompt, chosen, rejected, system=None):
    turns = ({"role": "system", "content": system},) if system else ()
    return Pair((*turns, {"role": "user", "content": prompt}), chosen, rejected, "made:1")


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "found"),
    [
        ("长城有多长？", "长城全长两万多公里。", "The Great Wall is over 20,000 km long.", "teaches"),
        ("长城有多长？", "The Great Wall is over 20,000 km long.", "长城全长两万多公里。", "against"),
        ("长城有多长？", "长城全长两万多公里。", "大约有一百米。", "both"),
        ("长城有多长？", "It is very long indeed.", "It is rather short, I think.", "neither"),
        ("长城有多长？", "长城全长两万多公里。", "Sure, here is the answer: 长城全长两万多公里。", "teaches"),
        ("长城有多长？", "21196", "长城很长。", "unclear"),
        ("3 + 4 = ?", "7", "八", "unclear"),
        ("请用英文回答：长城有多长？", "It is over 20,000 km long.", "长城全长两万多公里。", "other_asked"),
        ("把“你好”翻译成法语。", "Bonjour.", "你好。", "other_asked"),
        ("How long is the Great Wall?", "It is over 20,000 km long.", "长城全长两万多公里。", "teaches"),
        ("How long is the Great Wall?", "长城全长两万多公里。", "It is over 20,000 km long.", "against"),
        (
            "How long is the wall?",
            "It is 20,000 km long.",
            "La muraille est longue et les tours sont hautes.",
            "teaches",
        ),
        ("Say hello in Chinese.", "你好。", "Hello.", "other_asked"),
        ("Translate to Romanian\n\nRomanian:", "Bună ziua.", "Good day to you.", "other_asked"),
        ("万里の長城はどのくらいの長さですか？教えてください。", "長いです。", "It is long.", "unclear"),
        ("What is the capital?", "दिल्ली राजधानी है।", "It is Delhi, I think.", "against"),
    ],
)
def test_the_language_of_a_pair(prompt, chosen, rejected, found):
    assert language_contrast(pair(prompt, chosen, rejected))[0] == found


def test_words_of_another_language_are_told_apart_from_terms_names_and_code():
    plain = "Python 的 print() 函数会把 hello 写到屏幕上，NASA 和 Linus Torvalds 都这样用，请先运行 `pip install numpy` 再看。"
    mixed = "这道菜要先放一点盐，然后慢慢地炒到变成金黄色，最后 carefully 装盘上桌，再撒上葱花。"
    prompt = "怎样用 hello 写一个程序？"
    assert language_contrast(pair(prompt, plain, mixed)) == ("both", "only_rejected")
    assert language_contrast(pair(prompt, mixed, plain)) == ("both", "only_chosen")
    english = "The word for dog is “狗” in that language."
    assert language_contrast(pair("What is this?", english, "The dog 很大 and it runs.")) == ("both", "only_rejected")


def test_code_without_a_word_of_prose_is_judged_by_its_comments():
    chinese = "```python\n# 先打开文件，再逐行读取\nf = open(x)\n```"
    english = "```python\n# first open the file, then read it\nf = open(x)\n```"
    assert language_contrast(pair("怎样读取文件？", chinese, english))[0] == "teaches"
    assert language_contrast(pair("How do I read a file?", english, chinese))[0] == "teaches"


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("将“A friend in need is a friend indeed.”译成中文。", "zh"),
        ("Translate into English: 我喜欢下雨天", "zh"),  # and asks for another, see below
        ("总结下面的文章：\n" + "This is a long English article about nothing at all. " * 40, "zh"),
        ("print('你好') gives an error in my Python program, why does it?", "en"),
        ("???", None),
        ("", None),
    ],
)
def test_the_language_of_a_prompt(question, language):
    assert prompt_language(question) == language


@pytest.mark.parametrize(
    ("question", "asks"),
    [
        ("这个英文单词是什么意思？", False),
        ("您将会看到一个用德语提出的问题。", False),
        ("写一封英文邮件给老师。", True),
        ("“谢谢”的日语怎么说？", True),
    ],
)
def test_what_asks_for_another_language_in_chinese(question, asks):
    assert asks_for_another(question, "zh") is asks


def test_what_asks_for_another_language_in_english():
    assert asks_for_another("Translate into English: 我喜欢下雨天", "zh")
    assert asks_for_another("Explain what this means in Chinese.", "en")
    assert asks_for_another("Translate this sentence into French please", "en")
    assert not asks_for_another("Describe the role of family in Chinese culture.", "en")
    assert not asks_for_another("You are given a sentence in Italian.", "en")


def test_emoji_on_one_side_and_the_other():
    assert emoji_contrast(pair("x", "好的。", "好的！😀")) == "only_rejected"
    assert emoji_contrast(pair("x", "好 😀", "plain ✓ → ©")) == "only_chosen"
    assert emoji_contrast(pair("x", "好👍", "好👍")) == "both"
    assert emoji_contrast(pair("x", "`😀`", "a")) == "neither"  # code is none


def test_refusals():
    no, yes = "I'm sorry, but I cannot help with that.", "Boil the egg for nine minutes."
    assert refusal_contrast(pair("x", yes, no)) == "only_rejected"
    assert refusal_contrast(pair("x", no, yes)) == "only_chosen"
    assert refuses("抱歉，我不能提供这方面的帮助。")
    assert refuses("很长的故事。" * 500 + "抱歉，我不能提供这方面的帮助。")
    assert not refuses("他说：“我不能帮你。”" + "然后他走了，故事继续。" * 20)


def test_sides():
    assert [side(a, b) for a in (True, False) for b in (True, False)] == [
        "both",
        "only_chosen",
        "only_rejected",
        "neither",
    ]


def test_the_labels_of_the_demo_pairs():
    """What the module's docstring says of them."""
    found = {}
    for one in load_preferences([{"path": str(ROOT / "training/data/demo_pairs.jsonl")}]).pairs:
        seen = (*language_contrast(one), emoji_contrast(one))
        found.setdefault(one.labels["fault"], []).append(seen)
    for fault in ("english_answer", "english_lead_in", "chinese_answer"):
        assert {seen[0] for seen in found[fault]} == {"teaches"}
    assert sum(seen[0] == "teaches" for seen in found["mixed_language"]) == 55
    assert all(seen[0] == "teaches" or seen[1] == "only_rejected" for seen in found["mixed_language"])
    assert sum(seen[2] == "only_rejected" for seen in found["emoji"]) == 47
    for fault in ("chatty_tone", "wrong_answer"):
        assert {(seen[0], seen[2]) for seen in found[fault]} == {("both", "neither")}
