"""A prompt's language by its script and its commonest words, or by the row's own label."""

import pytest

from training.preferences.languages import language_of_label, language_of_text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("天空为什么是蓝色的？", "zh"),
        ("用 Python 写一个函数 quicksort(list)", "zh"),
        ("「の」在日语里是什么意思？请举两个例子说明它的用法。", "zh"),
        ("東京はどこですか？", "ja"),
        ("서울은 어디에 있습니까?", "ko"),
        ("Where is the library?", "en"),
        ("Où est la bibliothèque et que peut-on y faire avec les enfants ?", "fr"),
        ("¿Dónde está la biblioteca y qué se puede hacer con los niños?", "es"),
        ("Wo ist die Bibliothek und was kann man mit der Karte machen?", "de"),
        ("Где находится библиотека?", "other"),
        ("أين المكتبة؟", "other"),
        ("2 + 2 = ?", "en"),
        ("", "en"),
        ("What does 'la vie en rose' mean in the song?", "en"),
    ],
)
def test_by_text(text, language):
    assert language_of_text(text) == language


@pytest.mark.parametrize(
    ("label", "language"),
    [("zh", "zh"), ("zh-CN", "zh"), ("zh_Hans", "zh"), ("Chinese", "zh"), ("中文", "zh"), ("EN", "en"), ("en-US", "en"), ("French", "fr"), ("sw", "sw"), (" - ", "other")],
)  # fmt: skip
def test_by_label(label, language):
    assert language_of_label(label) == language
