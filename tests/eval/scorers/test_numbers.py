"""The final number of prose in both languages; None where absent or ambiguous."""

import pytest

from eval.scorers.numbers import chinese_numeral, extract_named, extract_number, score_named, score_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("有10个梨。", 10),
        ("答案是１３６。", 136),
        ("每辆车坐一百三十六人。", 136),
        ("十二", 12),
        ("两个", 2),
        ("1.2万", 12000),
        ("五分之三", 0.6),
        ("3/5", 0.6),
        ("1,234", 1234),
        ("40-20=20,20÷2=10。所以二班分到10个梨。", 10),
        ("(808-128)÷5=680÷5=136(人)\n答:最后一辆车乘了136个同学。", 136),
        ("首先,一班分20个,剩下20个。\n二班和三班平均分,20÷2=10个。\n所以,二班分到了**10**个。", 10),
        ("\\boxed{136}", 136),
        ("The answer is 136. Let me know if you have 2 more questions.", 136),
        ("There are 20 left. So each class gets 10 pears.", 10),
        ("1. 一班:20\n2. 剩余:20\n3. 二班:10", 10),
        ("-5", -5),
    ],
)
def test_reads(text, value):
    assert extract_number(text) == value


@pytest.mark.parametrize("text", ["", "不知道。", "可能是10个,也可能是12个。", "第一班和第二班", "我们一起统一分配。"])
def test_absent_or_ambiguous(text):
    assert extract_number(text) is None


def test_units_break_a_tie():
    assert extract_number("所以其余5辆车每辆乘136人。") is None
    assert extract_number("所以其余5辆车每辆乘136人。", ("人",)) == 136


@pytest.mark.parametrize(
    "text",
    [
        "鸡6只、兔4只",
        "鸡有6只,兔子有4只。",
        "有6只鸡和4只兔。",
        "假设全是鸡,10×2=20,28-20=8,8÷2=4,所以兔有4只,鸡有10-4=6只。",
        "设鸡为x只,兔为y只。x+y=10。所以鸡有六只,兔子有四只",
        "鸡:6只\n兔:4只",
        "先猜鸡有5只,兔有5只,脚太多。\n所以鸡有6只,兔有4只。",
        "鸡有6只,兔有4只。\n鸡:6×2=12只脚,兔:4×4=16只脚。",
        "鸡有6只,兔有4只。验证:鸡6×2=12,兔4×4=16,共28",
    ],
)
def test_reads_named_numbers(text):
    assert extract_named(text, ["鸡", "兔"]) == {"鸡": 6, "兔": 4}


def test_the_last_number_of_a_cut_off_answer_is_intermediate():
    assert extract_number("808-128=680。接下来", finished=False) is None
    assert extract_number("808-128=680。接下来") == 680
    assert extract_number("答案是136。验算:136", finished=False) == 136


def test_unparsed_is_apart_from_wrong():
    assert score_number("有10个。", 10).score == 1.0
    assert score_number("有12个。", 10).score == 0.0
    assert score_number("我不会。", 10).score is None
    assert score_named("鸡4只,兔6只", {"鸡": 6, "兔": 4}).score == 0.0
    assert score_named("鸡6只", {"鸡": 6, "兔": 4}).score is None
    assert score_named("鸡有6只或7只", {"鸡": 6, "兔": 4}).score is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("十", 10),
        ("十二", 12),
        ("二十", 20),
        ("一百零五", 105),
        ("两千", 2000),
        ("一亿", 10**8),
        ("一亿三千万", 130_000_000),
        ("一亿零五百万", 105_000_000),
        ("两万三千亿", 23_000 * 10**8),
        ("一万亿", 10**12),
        ("十二万三千四百五十六", 123_456),
        ("二〇二四", 2024),
        ("零", 0),
        # a last digit right behind a unit counts tenths of it, behind 零 ones
        ("三万二", 32_000),
        ("三万零二", 30_002),
        ("一百二", 120),
        ("两千五", 2500),
        ("一万二千三", 12_300),
        ("一亿三", 130_000_000),
        ("二百零二", 202),
        ("一千零五", 1005),
        # not well formed, or two numbers at once
        ("", None),
        ("百", None),
        ("亿万", None),
        ("三四百", None),
        ("二十三四", None),
        ("一亿二亿", None),
    ],
)
def test_chinese_numerals(text, value):
    assert chinese_numeral(text) == value


def test_a_full_width_semicolon_ends_a_sentence():
    assert extract_number("先算20÷2；所以二班分到10个") == 10
