"""The language scorer: hand-written cases in both languages, then the real answers of two models."""

import csv

import pytest

from eval.scorers import language

CHINESE = [
    "好的,今天天气很好。",
    "可以用Python和GDP数据来分析,NBA也一样,Wi-Fi不影响。",
    "碳水化合物(Carbohydrate)由碳(C)、氢(H)和氧(O)组成。",
    "代码如下:\n```python\nprint('hello world, this is english text in code')\n```\n运行即可。",
    "参见 https://example.com/some/long/english/path 的说明。",
    "公式是 $E = mc^2$,其中能量等于质量乘以光速的平方。",
    "三星Galaxy Tab的存储容量有32GB和64GB。",
    "解方程 3x - 7 = 2x + 5，移项得 x = 12。",
    "```python\n# 先判断能否被四整除\nleap = year % 4 == 0  # 再看世纪年\n```",
    "```cpp\n#include <vector>\n// 用数组保存结果\n```",
]
NOT_CHINESE = [
    "The idiom 拆东墙补西墙 means to solve one problem by creating another one.",
    "Sure, here is the translation:\n宋濂曾经和客人喝酒,皇帝秘密派人监视。",
    "I think the answer is ten.",
    "これは日本語の文章ですから、中国語ではありません。",
    "Это русский текст.",
    "```python\n# first check whether four divides it\nleap = year % 4 == 0\n```",
]


@pytest.mark.parametrize("text", CHINESE)
def test_chinese_with_what_belongs_to_it(text):
    assert language.answered_in_chinese(text).score == 1.0


@pytest.mark.parametrize("text", NOT_CHINESE)
def test_some_han_is_not_an_answer_in_chinese(text):
    assert language.answered_in_chinese(text).score == 0.0


@pytest.mark.parametrize("text", ["", "  \n", "```python\nx = 1\n```", "42", "😊"])
def test_nothing_to_judge_is_never_perfect(text):
    assert language.answered_in_chinese(text).score is None
    assert language.answered_in_english(text).score is None
    assert language.no_han(text).score is None
    assert language.mixed(text).score is None


def test_answered_in_english():
    assert language.answered_in_english("The capital of France is Paris.").score == 1.0
    assert language.answered_in_english("The idiom “亡羊补牢” (wáng yáng bǔ láo) means to mend the fold.").score == 1.0
    assert language.answered_in_english("The answer is 十 pears 梨.").score == 0.0
    assert language.answered_in_english("答案是十。").score == 0.0


def test_english_lead_in():
    assert language.english_lead_in("Great question! 😊\n\n今天天气很好,适合出门散步。").score == 1.0
    assert language.english_lead_in("今天天气很好。Thank you!").score == 0.0
    assert language.english_lead_in("The weather is good.").score == 0.0, "no Chinese follows: that is no_han"


def test_mixed():
    assert language.mixed("你可以先relax一下,再继续工作。").score == 1.0
    assert language.mixed("通常不会致命。 common causes of sore throat include infections.").score == 1.0
    assert language.mixed("谷歌的Chrome浏览器和Android系统都支持Wi-Fi,写Python也行。").score == 0.0
    assert language.mixed("运行 `pip install numpy` 即可。").score == 0.0


@pytest.mark.parametrize(
    "text", ["好的😊", "完成✅", "爱你❤️", "你好(^_^)", "随便啦¯\\_(ツ)_/¯", "可以(╯°□°)", "好 :)", "1️⃣ 第一"]
)
def test_emoji(text):
    assert language.emoji(text).score == 1.0


@pytest.mark.parametrize(
    "text", ["1. 第一★★★", "f(x) = (a + b) * (c - d)", "→ 下一步 ✓", "比例为3:4(约等于)", "温度25℃©2020", "时间10:30"]
)
def test_no_emoji(text):
    assert language.emoji(text).score == 0.0


def load(shared, model, source):
    with (shared / "language" / f"completions_{model}_zh.csv").open(encoding="utf-8") as stream:
        return {int(r["id"]): r["completion"] for r in csv.DictReader(stream) if r["source"].startswith(source)}


def passing(rule, answers):
    return {key for key, text in answers.items() if rule(text).score == 1}


def test_agrees_with_a_reader_on_llama_3(shared):
    """Aya: 15 of 100 read as Chinese by a person, 55 without Han, 70 with an emoji (the data's own README); Okapi: 1, 98."""
    aya = load(shared, "llama-3-instruct", "aya")
    assert passing(language.answered_in_chinese, aya) == {2, 5, 14, 20, 33, 39, 47, 55, 67, 79, 82, 85, 91, 97, 98}
    assert len(passing(language.no_han, aya)) == 55
    assert len(passing(language.english_lead_in, aya)) == 30
    assert len(passing(language.emoji, aya)) == 70
    okapi = load(shared, "llama-3-instruct", "okapi")
    assert passing(language.answered_in_chinese, okapi) == {76} and len(passing(language.no_han, okapi)) == 98


def test_accepts_command_r(shared):
    """All 200 are Chinese; 15 slip into Latin words inside Chinese sentences (each read and found real)."""
    answers = [text for source in ("aya", "okapi") for text in load(shared, "command-r", source).values()]
    count = lambda rule: sum(rule(text).score == 1 for text in answers)  # noqa: E731
    assert (count(language.answered_in_chinese), count(language.emoji), count(language.mixed)) == (200, 0, 15)
