"""Every flag of generate, demo and compare reaches what it is for: the engine, the sampling, the page."""

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inference import compare, demo, generate
from inference.answers import Answer
from inference.loading import load_tokenizer
from inference.rules import Sampling
from tests.inference.gguf_models import changed

OWN = {
    "do_sample": True,
    "temperature": 0.6,
    "top_p": 0.9,
    "top_k": 5,
}  # of the model, so that each flag changes something
SAMPLING = Sampling(0.6, 0.9, 5)
LOADING = {
    "--dtype": ("bfloat16", "dtype", "bfloat16"),
    "--quantization": ("int8", "quantization", "int8"),
    "--runtime": ("transformers", "runtime", "transformers"),
}
DRAWING = {
    "--temperature": ("0.8", "temperature", 0.8),
    "--top-p": ("0.7", "top_p", 0.7),
    "--top-k": ("7", "top_k", 7),
    "--min-p": ("0.1", "min_p", 0.1),
    "--repetition-penalty": ("1.3", "repetition_penalty", 1.3),
    "--seed": ("3", "seed", 3),
    "--max-new-tokens": ("9", "max_new_tokens", 9),
}
UNASKED = {"dtype": None, "quantization": None, "runtime": "auto"}
ELSEWHERE = {  # flags with tests of their own
    generate: {"--prompts", "--output", "--system", "--samples", "--skip-long"},  # test_generate.py
    demo: {"--base", "--host", "--port"},  # below, and test_demo.py
    compare: {"--prompt"},  # below
}
FLAGS = {
    generate: LOADING | DRAWING | {"--batch-size": ("2", "batch_size", 2)},
    demo: LOADING | DRAWING,
    compare: LOADING | {"--max-new-tokens": DRAWING["--max-new-tokens"]},
}
needs_gradio = pytest.mark.skipif(not importlib.util.find_spec("gradio"), reason="needs requirements-demo.txt")


class Asked:
    """Stands for the engines that are opened, and remembers what they are asked."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, dict[str, Any]]] = []
        self.generated: list[dict[str, Any]] = []

    def open(self, source, **loading):
        self.opened.append((source.name, loading))

        def answer(conversations, **settings):
            self.generated.append(settings)
            for index, chat in enumerate(conversations):
                yield Answer(index, f"{source.name} says {chat[-1]['content']}", [1], "stop")

        return SimpleNamespace(
            generate=answer, made_by=lambda: {"recorded": "1"}, context=2048, tokenizer=load_tokenizer(source)
        )


@pytest.fixture
def asked(monkeypatch) -> Asked:
    found = Asked()
    for module in (generate, demo, compare):
        monkeypatch.setattr(module, "open_engine", found.open)
    return found


@pytest.fixture(scope="module")
def models(tiny_folder, tmp_path_factory) -> dict[str, Path]:
    """A greedy one and one that samples, with room for answers of the default length."""
    folder = tmp_path_factory.mktemp("flags")
    room = changed(tiny_folder, folder / "first", "config.json", lambda it: it.update(max_position_embeddings=2048))
    changed(room, folder / "tuned", "generation_config.json", lambda it: it.update(OWN))
    return {name: folder / name for name in ("first", "tuned")}


def by_generate(asked: Asked, models: dict[str, Path], folder: Path, words: list[str], _patch) -> dict[str, Any]:
    (folder / "p.txt").write_text("Hi\n")
    files = ["--prompts", str(folder / "p.txt"), "--output", str(folder / "o.jsonl")]
    assert generate.main([str(models["tuned"]), *files, *words]) == 0
    (told,) = asked.generated
    names = ("seed", "max_new_tokens", "batch_size")
    return vars(told["sampling"]) | {name: told[name] for name in names} | asked.opened[0][1]


def by_demo(asked: Asked, models: dict[str, Path], _folder: Path, words: list[str], patch) -> dict[str, Any]:
    page = shown_page(models, words, patch)
    loading = [loading for _, loading in asked.opened]
    assert loading[0] == loading[1]
    temperature, top_p, longest, seed = (component.value for component in page.chosen)  # what a visitor sees first
    sampling = page.settings.sampling
    assert (sampling.temperature, sampling.top_p) == (temperature, top_p)
    return vars(sampling) | {"max_new_tokens": longest, "seed": seed} | loading[0]


def shown_page(models: dict[str, Path], words: list[str], patch):
    """The page that `serve` gets."""
    from inference.page import app

    shown = []
    patch.setattr(app, "serve", lambda page, host, port: shown.append(page))
    patch.setattr(demo, "check_address", lambda host, port: None)
    assert demo.main([str(models["tuned"]), "--base", str(models["first"]), *words]) == 0
    return shown[0]


def by_compare(asked: Asked, models: dict[str, Path], _folder: Path, words: list[str], patch) -> dict[str, Any]:
    plain = []
    patch.setattr(compare, "plain_answer", lambda _source, _chat, longest, _loading: plain.append(longest) or "plain")
    assert compare.main([str(models["first"]), str(models["tuned"]), "--prompt", "Hi", *words]) == 0
    budgets = [told["max_new_tokens"] for told in asked.generated] + plain
    assert budgets[0] == budgets[1] and all(loading == asked.opened[0][1] for _, loading in asked.opened)
    return {"max_new_tokens": budgets[0]} | asked.opened[0][1]


RUN: dict[Any, Callable[..., dict[str, Any]]] = {generate: by_generate, demo: by_demo, compare: by_compare}
CASES = [
    pytest.param(module, flag, id=f"{module.__name__}{flag or ''}", marks=[needs_gradio] if module is demo else [])
    for module, flags in FLAGS.items()
    for flag in [None, *flags]
]


@pytest.mark.parametrize(("module", "flag"), CASES)
def test_a_flag_changes_what_it_names_and_nothing_else(asked, models, tmp_path, monkeypatch, module, flag):
    default = {compare: 256}.get(module, 512)
    wanted = vars(SAMPLING) | {"seed": 0, "batch_size": 32} | UNASKED | {"max_new_tokens": default}
    words = []
    if flag:
        value, name, meant = FLAGS[module][flag]
        words, wanted[name] = [flag, value], meant
    found = RUN[module](asked, models, tmp_path, words, monkeypatch)
    assert found == {name: wanted[name] for name in found}
    assert flag is None or FLAGS[module][flag][1] in found


@pytest.mark.parametrize("module", FLAGS)
def test_no_flag_is_without_such_a_test(module):
    actions = [action for action in module.build_parser()._actions if not isinstance(action, argparse._HelpAction)]
    flags = {flag for action in actions for flag in action.option_strings}
    assert flags == FLAGS[module].keys() | ELSEWHERE[module]


@needs_gradio
def test_the_base_stands_first_and_the_tuned_models_sampling_holds(asked, models, monkeypatch):
    page = shown_page(models, [], monkeypatch)
    assert [(side.role, side.name) for side in page.sides] == [("base", "first"), ("tuned", "tuned")]
    assert [name for name, _ in asked.opened] == ["first", "tuned"] and page.settings.sampling == SAMPLING


def test_each_answer_of_compare_stands_under_its_model(asked, models, capsys):
    words = [str(models["first"]), str(models["tuned"]), "--prompt", "Hi?", "--runtime", "transformers"]
    assert compare.main(words) == 0
    assert capsys.readouterr().out == "── first\nfirst says Hi?\n\n── tuned\ntuned says Hi?\n"


@pytest.mark.parametrize(
    "words", [[], ["--dtype", "bfloat16"], ["--quantization", "nf4"], ["--runtime", "transformers"]]
)
def test_compare_asks_the_tuned_model_with_transformers_alone_unless_loading_is_chosen(
    asked, models, monkeypatch, capsys, words
):
    monkeypatch.setattr(compare, "plain_answer", lambda source, *_: f"{source.name} alone")
    assert compare.main([str(models["first"]), str(models["tuned"]), "--prompt", "Hi", *words]) == 0
    assert ("tuned alone" in capsys.readouterr().out) == (not words)
    assert [name for name, _ in asked.opened] == (["first", "tuned"] if words else ["first"])
