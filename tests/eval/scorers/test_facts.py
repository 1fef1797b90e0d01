"""The chat and writing prompts: a good answer passes, each answer with one fault fails."""

import pytest

from eval.scorers.facts import dated_periods_in_order, score_facts
from eval.suites import load_suite

CHECKS = {item.id: item.check for item in load_suite("seed").items}
GOOD = {
    "chat-bluetooth-earphones": "蓝牙耳机是电子产品,坏了不需要去看牙科或耳鼻喉科。建议联系厂家的售后服务,或者找维修店修理。",
    "chat-cold-medicine-daily": "每天吃感冒药仍然可能会感冒。感冒药只能缓解症状,不能预防感冒。长期服用会有副作用,请咨询医生。",
    "writing-ai-history": "1950年,图灵提出了图灵测试。1956年,达特茅斯会议确立了人工智能这一学科。1974年起,人工智能进入第一次寒冬。"
    "2012年,深度学习取得突破。2022年,大语言模型走入公众视野。",
    "writing-tsinghua": "清华大学创建于1911年,位于北京市海淀区,是教育部直属的全国重点大学,也是中国顶尖的研究型大学。",
}


@pytest.mark.parametrize("name", GOOD)
def test_good_answer(name):
    assert score_facts(GOOD[name], CHECKS[name]).score == 1.0, score_facts(GOOD[name], CHECKS[name]).reason


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chat-bluetooth-earphones", "你应该去看耳鼻喉科,因为耳机和耳朵有关。"),
        ("chat-bluetooth-earphones", "不用看牙科。你可以去耳鼻喉科检查,也可以联系售后维修。"),
        ("chat-bluetooth-earphones", "You should contact the maker for repair, neither clinic helps."),
        ("chat-cold-medicine-daily", "不会感冒,感冒药可以预防感冒。"),
        ("chat-cold-medicine-daily", GOOD["chat-cold-medicine-daily"].replace(",请咨询医生", "")),
        ("writing-ai-history", GOOD["writing-ai-history"].replace("2012年", "1948年")),
        ("writing-ai-history", GOOD["writing-ai-history"] + "😊"),
        ("writing-ai-history", GOOD["writing-ai-history"].replace("进入第一次寒冬", "发展很快")),
        ("writing-tsinghua", GOOD["writing-tsinghua"].replace("1911", "1921")),
        ("writing-tsinghua", GOOD["writing-tsinghua"].replace(",", "\n- ")),
        ("writing-tsinghua", GOOD["writing-tsinghua"].replace("北京", "上海")),
    ],
)
def test_one_fault_fails(name, text):
    assert score_facts(text, CHECKS[name]).score < 1.0


def test_empty_is_unscored_and_years_must_not_step_back():
    assert score_facts(" ", CHECKS["writing-tsinghua"]).score is None
    assert dated_periods_in_order("50年代起步。1956年命名。2012年突破。") == 3
    assert dated_periods_in_order("2012年突破。1956年命名。") == 0
