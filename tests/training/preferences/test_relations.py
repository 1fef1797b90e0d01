"""Which pairs belong together, also after some are taken."""

import numpy as np

from training.preferences.pair import Pair
from training.preferences.relations import joined, relate

LONG = "请说明为什么运河在铁路通车之后逐渐失去了货运的作用，并举出两个沿岸城市的例子。"


def pair(question, *before):
    turns = [{"role": "user", "content": text} for text in (*before, question)]
    return Pair(tuple(turns), "好", "坏", question)


def test_links_join_groups():
    assert joined(np.array([0, 0, 2, 3, 4]), [(1, 3), (4, 3)]).tolist() == [0, 0, 2, 0, 0]
    assert joined(np.arange(3), []).tolist() == [0, 1, 2]


def test_near_prompts_belong_together_and_keep_together_in_a_part():
    pairs = [pair("今天星期几？"), pair(LONG), pair(f"{LONG}谢谢"), pair("another question altogether")]
    found = relate(pairs)
    assert found.near.tolist() == [0, 1, 1, 3] == found.groups.tolist()
    part = found.only([3, 2, 1])
    assert part.near.tolist() == [0, 1, 1] and part.searched == 3


def test_the_system_turn_does_not_make_prompts_near():
    system = {"role": "system", "content": LONG}
    pairs = [Pair((system, *pair(text).prompt), "a", "b", text) for text in ("天冷吗？", "海水为什么是咸的？")]
    assert relate(pairs).near.tolist() == [0, 1]


def test_twins_join_groups_and_follow_their_pairs():
    english = "Please explain why hot water and cold water mixed in the kitchen of a hotel in London cost 250 dollars in 1998."
    chinese = "请解释为什么1998年在伦敦一家酒店的厨房里把热水和冷水混合要花费250美元。"
    found = relate([pair("唱歌有什么好处？"), pair(chinese), pair(english), pair("How do I sing better?")])
    assert [twin[:2] for twin in found.twins] == [(2, 1)]
    assert found.groups.tolist() == [0, 1, 1, 3] and found.near.tolist() == [0, 1, 2, 3]
    assert [twin[:2] for twin in found.only([2, 3, 1]).twins] == [(0, 2)]
    assert found.only([0, 2]).twins == []
