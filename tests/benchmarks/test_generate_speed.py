"""The speed benchmark's own arithmetic, and its comparison of token ids."""

import os
import subprocess
import sys

import pytest

from benchmarks.generate_speed import OURS, OURS_GGUF, PIPELINE, SINGLE, build_parser, figures, programs_of, prompts
from benchmarks.generators import after_prompt, measure, peak_mb
from command import UserError, WorkError
from inference import export_gguf, generate
from inference.llama_cpp.engine import available
from inference.loading import resolve
from inference.runtime import open_engine
from tests.inference.conftest import CHATS, PROMPTS
from tests.inference.gguf_models import make_llama3


def test_prompts_are_as_many_chinese_as_english_and_no_two_alike():
    found = prompts(64)
    chinese = [any("\u4e00" <= letter <= "\u9fff" for letter in prompt) for prompt in found]
    assert len(set(found)) == 64 and 30 <= sum(chinese) <= 36 and prompts(8) == found[:8]
    with pytest.raises(UserError, match="--limit 0 must be"):
        prompts(0)


def test_ratios_are_taken_within_a_round_and_equal_answers_counted():
    """One by one 1 and 2 tokens/s, ours 4 and 6: ratios 4 and 3, their median 3.5, where the medians of the speeds would give 3.3."""

    def run(seconds: float, ids: list[list[int]]) -> dict:
        return {"seconds": seconds, "ids": ids, "peak_mb": 10 * seconds, "made_by": {}}

    same, other = [[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 7]]
    rounds = [{OURS: run(1.5, same), SINGLE: run(6, other), PIPELINE: run(6, same)}]
    rounds.append({OURS: run(1, same), SINGLE: run(3, other), PIPELINE: run(6, same)})
    ours, single = figures(OURS, rounds), figures(SINGLE, rounds)
    assert ours["times_ours_one_by_one"] == 3.5 and ours["times_pipeline_one_by_one"] == 5
    assert ours["tokens_per_second"] == 5 and ours["tokens"] == 6 and ours["answers_equal_to_ours"] == 2
    assert single["answers_equal_to_ours"] == 1 and single["peak_mb"] == 60


def test_the_pipelines_answer_is_found_between_its_paddings():
    assert after_prompt([2, 2, 7, 8, 9, 5, 6, 2, 2], [7, 8, 9], (2, 3)) == [5, 6]
    assert after_prompt([7, 8, 9, 5, 6], [7, 8, 9], (2,)) == [5, 6]
    with pytest.raises(WorkError, match="another prompt"):
        after_prompt([7, 8], [7, 9], (2,))


def test_threads_are_all_cores_where_the_system_cannot_say_which_are_ours(monkeypatch):
    assert build_parser().parse_args(["m", "g"]).threads == int(os.environ["OMP_NUM_THREADS"])
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delattr(os, "sched_getaffinity")
    assert build_parser().parse_args(["m", "g"]).threads == os.cpu_count()


def test_memory_counts_the_processes_that_were_started():
    before = peak_mb()
    code = "import sys; held = b'x' * 200_000_000; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert 190 < peak_mb() - before < 260
        child.stdin.close()


@pytest.mark.skipif(not available(), reason="llama.cpp is not installed")
def test_our_row_of_llama_cpp_is_what_inference_generate_opens(tmp_path, monkeypatch):
    folder = make_llama3(tmp_path / "model")
    export_gguf.main([str(folder), "--output", str(tmp_path / "gguf"), "--types", "f16", "q8_0", "--name", "m"])
    spec = programs_of(str(folder), tmp_path / "gguf")[OURS_GGUF]
    asked = []
    monkeypatch.setattr(
        "inference.runtime.open_engine", lambda source, **o: asked.append(o) or open_engine(source, **o)
    )
    found = measure({**spec, "prompts": PROMPTS, "max_new_tokens": 8})
    engine = open_engine(resolve(spec["model"]))
    assert found["made_by"] == engine.made_by() and "xllamacpp" in found["made_by"]
    alone = [next(engine.generate([chat], max_new_tokens=8)).token_ids for chat in CHATS]
    assert sum(one == two for one, two in zip(found["ids"], alone, strict=True)) >= 7  # rounding of a batch
    parsed = generate.build_parser().parse_args([spec["model"], "--prompts", "p", "--output", "o"])
    assert asked == [{"dtype": parsed.dtype}] and parsed.runtime == "auto" and spec["batch_size"] == 8
