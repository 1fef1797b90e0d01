import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.preferences import duplicates
from training.preferences.duplicates import NearDuplicates, jaccard, shingles
from training.preferences.shingles import grams, hash_tokens
from training.preferences.text import ngrams, split_tokens

ROOT = Path(__file__).resolve().parents[3]
QUESTION = "我想在家里的阳台上种几盆番茄，请告诉我应该选什么样的花盆，多久浇一次水，什么时候施肥最合适？"
ENGLISH = "Please explain to a new colleague how the weekly backup of our database works and what to do when it fails."


def group(texts, **options):
    with NearDuplicates() as near:
        for text in texts:
            near.add(text)
        return near.groups(texts.__getitem__, **options).tolist()


def together(one, other):
    return group([one, other]) == [0, 0]


@pytest.mark.parametrize(
    "other",
    [
        QUESTION.replace("，", ",").replace("？", ""),
        QUESTION.replace("番茄", "西瓜"),
        f"请问{QUESTION}",
        f"  {QUESTION}\n",
    ],
)
def test_variants_of_a_question_are_one_group(other):
    assert together(QUESTION, other)


def test_case_width_and_order_of_sentences_do_not_part():
    assert together(ENGLISH, ENGLISH.upper())
    assert together("ＡＢＣ１２３是什么编号？", "abc123是什么编号")
    assert together(f"{QUESTION}\n{ENGLISH}", f"{ENGLISH}\n{QUESTION}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("关税是什么意思？", "湿度是什么意思？"),
        ("2+3等于几", "2+4等于几"),
        ("2+3等于几", "2-3等于几"),
        ("C++ 怎么入门？", "C# 怎么入门？"),
        ("How do I kill a process?", "How do I kill a person?"),
        ("😀", "😡"),
        ("？？", ""),
    ],
)
def test_other_questions_of_one_form_are_not(one, other):
    assert not together(one, other)


def test_texts_without_words_are_grouped_when_the_same():
    assert group(["😀", "", "😡", "😀", ""]) == [0, 1, 2, 0, 1]


def test_no_rows():
    assert group([]) == []


def test_threshold_changes_the_groups():
    texts = ["天空为什么是蓝色的？", "请问天空为什么是蓝色的？"]
    assert group(texts) == [0, 1]
    assert group(texts, threshold=0.6) == [0, 0]


def made_texts():
    """40 families of three near texts and 40 texts alone; words drawn by number."""
    draw = random.Random(5)
    texts = []
    for _ in range(40):
        words = [f"w{draw.randrange(5000)}" for _ in range(40)]
        texts += [" ".join(words), " ".join([*words[:-1], "end"]), " ".join(["start", *words[1:]])]
        texts.append(" ".join(f"w{draw.randrange(5000)}" for _ in range(40)))
    return texts


def partition(groups, texts):
    found = {}
    for number, text in zip(groups, texts, strict=True):
        found.setdefault(number, set()).add(text)
    return {frozenset(one) for one in found.values()}


def test_groups_do_not_depend_on_the_order_of_rows(monkeypatch):
    monkeypatch.setattr(duplicates, "BUFFERED", 1000)  # several writes
    texts = made_texts()
    wanted = partition(group(texts), texts)
    assert sorted(map(len, wanted)) == [1] * 40 + [3] * 40
    for seed in range(3):
        mixed = random.Random(seed).sample(texts, len(texts))
        assert partition(group(mixed), mixed) == wanted


def test_a_group_is_named_by_its_smallest_index():
    groups = np.array(group(made_texts()))
    assert (groups <= np.arange(len(groups))).all()
    assert (groups[groups] == groups).all()


def test_a_large_bucket_is_not_compared_in_full_but_found(monkeypatch):
    """400 near texts: 79,800 pairs, at most 16 bands × 8 comparisons a row; a million equal ones: none."""
    compared = []
    monkeypatch.setattr(duplicates, "jaccard", lambda *sets: compared.append(1) or jaccard(*sets))
    stem = " ".join(f"word{i}" for i in range(60))
    texts = [f"{stem} {i}" for i in range(400)]
    assert set(group(texts)) == {0}
    assert len(compared) <= 400 * 16 * 8 / 4
    compared.clear()
    assert set(group([stem] * 5000)) == {0}
    assert not compared


def test_strangers_in_a_large_bucket_cost_eight_comparisons_each():
    compared = []
    parent = np.arange(400)
    duplicates.join(list(range(400)), parent, lambda *pair: compared.append(pair))
    assert len(compared) == sum(min(8, before) for before in range(400))
    assert (parent == np.arange(400)).all()


def test_every_process_finds_the_same_bands():
    program = "from training.preferences.duplicates import records; print(records(['甲乙丙丁', 'one two three']).tobytes().hex())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(outputs.pop()) == 2 * 2 * 72 + 1


def test_the_file_has_no_name(tmp_path):
    with NearDuplicates(tmp_path) as near:
        near.add("甲")
        near.write()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "A b_c, 你好２ﬁ 한국어 İx", QUESTION, "x" * 3000, "𠀀a-b"])
def test_hashes_stand_for_the_tokens_of_split_tokens(text):
    hashed, tokens = hash_tokens(text), split_tokens(text)
    assert tuple(hashed.text[a:b] for a, b in zip(hashed.starts, hashed.ends, strict=True)) == tokens
    for size in (1, 2, 13):
        assert len(set(grams(hashed.hashes, size).tolist())) == len(ngrams(tokens, size))


def test_jaccard_is_exact():
    """Bigrams with both ends: ^a ab b$ against ^a ab bc c$: two of five."""
    assert jaccard(shingles("a b"), shingles("a b c")) == 2 / 5
