"""What is kept while a batch runs: nothing whole is lost, whatever stops it, and nothing foreign is overwritten."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from command import UserError
from inference.batch import part as module
from inference.batch.part import Part, part_folder, told_changes
from inference.batch.prompts import Prompts

PROMPTS = Prompts([json.dumps({"id": name, "prompt": "x", "kept": name}).encode() for name in "abc"])
SETTINGS = {"seed": 0, "sampling": {"temperature": 0.6}, "weights_sha256": "ab" * 32}
TORCH, LLAMA = {"torch": "2.13"}, {"llama.cpp": "1"}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.jsonl"


def new_part(output, settings=SETTINGS, samples: int = 1) -> Part:
    return Part(output.with_name("out.jsonl.part"), output, settings, len(PROMPTS), samples)


def answer(output, numbers, settings=SETTINGS, samples: int = 1, made_by=TORCH) -> Part:
    """A run that gives these answers and stops."""
    part = new_part(output, settings, samples)
    with part.opened():
        part.begin(made_by)
        for number in numbers:
            part.add(number, f"答{number}", "stop", number)
    return part


def finish(output, **options) -> list[dict]:
    part = new_part(output, **options)
    with part.opened():
        part.finish(PROMPTS, {"model": "m"})
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def test_the_output_has_the_prompts_order_and_keys(output):
    answer(output, [2, 0, 1])
    rows = finish(output)
    assert rows[0] == {"id": "a", "prompt": "x", "kept": "a", "response": "答0", "finish_reason": "stop", "tokens": 0}
    assert [(row["id"], row["response"]) for row in rows] == [("a", "答0"), ("b", "答1"), ("c", "答2")]
    assert [file.name for file in output.parent.iterdir() if file.is_file()] == ["out.jsonl", "out.jsonl.settings.json"]
    told = json.loads((output.parent / "out.jsonl.settings.json").read_text(encoding="utf-8"))
    assert told["settings"] == SETTINGS and told["made_by"] == [TORCH] and told["counts"] == {"stop": 3, "tokens": 3}
    assert new_part(output).is_done() and not new_part(output, {**SETTINGS, "seed": 1}).is_done()


def test_samples_are_rows_of_their_own_and_skipped_rows_have_no_response(output):
    answer(output, [5, 4, 1, 0], samples=2)
    part = new_part(output, samples=2)
    part.skip([1])
    with part.opened():
        assert part.left() == [] and part.wanted() == 4
        counts = part.finish(PROMPTS, {})
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["sample"], row["response"]) for row in rows] == [
        *[("a", 0, "答0"), ("a", 1, "答1"), ("b", 0, None), ("b", 1, None), ("c", 0, "答4"), ("c", 1, "答5")]
    ]
    assert counts == {"stop": 4, "prompt_too_long": 2, "tokens": 10}
    assert rows[2]["finish_reason"] == "prompt_too_long" and rows[2]["tokens"] == 0


def test_a_torn_tail_is_answered_again(output):
    """Cut at every byte of the last answer: the others are kept."""
    part = answer(output, [0, 1])
    whole = part.answers.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        part.answers.write_bytes(whole[:end])
        with (again := new_part(output)).opened():
            assert again.left() == [1, 2]
        assert part.answers.read_bytes() == whole[:last]
    answer(output, [2, 1])
    assert [row["response"] for row in finish(output)] == ["答0", "答1", "答2"]


@pytest.mark.parametrize("rubbish", [b"\0" * 40, b"\xff\n", b"9\n", b'{"number": 1\n{"number": 2}\n'])
def test_what_is_no_record_is_answered_again(output, rubbish):
    part = answer(output, [0])
    part.answers.write_bytes(part.answers.read_bytes() + rubbish)
    assert answer(output, [1]).left() == [2]


def test_a_write_that_fails_halfway_loses_that_answer_alone(output, monkeypatch):
    part = answer(output, [0])
    with pytest.raises(OSError, match="No space"), (part := new_part(output)).opened():
        written = part.stream.write

        def full(data: bytes) -> None:
            written(data[:9])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(part, "stream", SimpleNamespace(write=full, tell=part.stream.tell))
        part.add(1, "x", "stop", 1)
    assert answer(output, [2]).left() == [1]


def test_other_settings_begin_anew_and_say_what_differs(output, capsys):
    answer(output, [0, 1])
    other = {**SETTINGS, "sampling": {"temperature": 0.8}}
    new_part(output, other).tell_changes()
    assert "starting anew: temperature 0.6 → 0.8. The former answers stay" in capsys.readouterr().err
    assert answer(output, [0], other).left() == [1, 2]
    new_part(output).tell_changes()
    assert capsys.readouterr().err == ""  # its own answers are still there
    answer(output, [2])
    finish(output)
    new_part(output, {**SETTINGS, "seed": 1}).tell_changes()
    assert "seed 0 → 1. " + str(output) + " is replaced when" in capsys.readouterr().err


def test_changes_are_told_shortly():
    new = {"seed": 0, "sampling": {"temperature": 0.6}, "weights_sha256": "cd" * 32, "system": "你"}
    assert told_changes(SETTINGS, new) == 'weights_sha256 abababababab… → cdcdcdcdcdcd…, system none → "你"'


def test_another_runtime_for_the_rest_is_told(output, capsys):
    answer(output, [0])
    answer(output, [1], made_by=TORCH)
    assert capsys.readouterr().err == ""
    answer(output, [2], made_by=LLAMA)
    assert "made with torch 2.13; the rest are made with llama.cpp 1" in capsys.readouterr().err
    finish(output)
    assert json.loads((output.parent / "out.jsonl.settings.json").read_text())["made_by"] == [TORCH, LLAMA]


def test_a_file_that_is_not_ours_is_not_replaced(output):
    output.write_text("precious\n")
    with pytest.raises(UserError, match=r"is not replaced\. Move it away"):
        new_part(output).is_done()
    output.unlink()
    answer(output, [0, 1, 2])
    finish(output)
    output.write_text(output.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not replaced"):
        new_part(output).is_done()


def killed_before_its_output_has_its_name(output, monkeypatch, settings=SETTINGS) -> None:
    """A run whose settings are written and whose output is not."""
    part, replace = answer(output, [0, 1, 2], settings), Path.replace

    def kill(path, target):
        if target == output:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), part.opened():
        patch.setattr(Path, "replace", kill)
        part.add(0, "another", "stop", 1)
        part.finish(PROMPTS, {})


def test_an_output_changed_by_hand_is_not_replaced_by_an_interrupted_run(output, monkeypatch):
    """Whether that run was stopped among its answers or at its end; moved away, it loses no answer."""
    other = {**SETTINGS, "seed": 1}
    answer(output, [0, 1, 2])
    finish(output)
    for interrupt in (
        lambda: answer(output, [0], other),
        lambda: killed_before_its_output_has_its_name(output, monkeypatch, other),
    ):
        interrupt()
        former = output.read_bytes()
        assert not new_part(output, other).is_done()  # what the run before left may be replaced
        output.write_text("precious\n")
        with pytest.raises(UserError, match=r"is not replaced\. Move it away, and the same command continues"):
            new_part(output, other).is_done()
        output.write_bytes(former)
    output.write_text("precious\n")
    with pytest.raises(UserError, match="is not replaced"):
        finish(output, settings=other)  # it came while the run answered
    assert output.read_text() == "precious\n"
    output.unlink()
    assert new_part(output, other).is_done() or len(finish(output, settings=other)) == 3


def test_a_file_put_where_an_interrupted_run_had_no_output_yet_is_not_replaced(output, monkeypatch):
    killed_before_its_output_has_its_name(output, monkeypatch)
    assert not new_part(output).is_done()
    output.write_text("precious\n")
    with pytest.raises(UserError, match="is not replaced"):
        new_part(output).is_done()


def test_a_former_output_put_back_by_hand_is_not_replaced(output):
    answer(output, [0, 1, 2])
    finish(output)
    former, other = output.read_bytes(), {**SETTINGS, "seed": 1}
    answer(output, [2, 1, 0], other, made_by=LLAMA)
    part = new_part(output, other)
    with part.opened():
        part.add(0, "another", "stop", 1)
        part.finish(PROMPTS, {})
    assert new_part(output, other).is_done() and output.read_bytes() != former
    output.write_bytes(former)
    with pytest.raises(UserError, match="is not replaced"):
        new_part(output, {**SETTINGS, "seed": 2}).is_done()


@pytest.mark.parametrize(
    ("name", "where"),
    [("write", "out.jsonl.settings.json"), ("replace", "out.jsonl"), ("unlink", "out.jsonl.part")],
)
def test_a_kill_between_the_last_steps_is_mended(output, monkeypatch, name, where):
    """Killed before the settings are written, between them and the output, and before the part is gone: the next call ends it."""
    answer(output, [0, 1, 2])
    part, reached = new_part(output), []

    def kill(path, *rest):
        place = {"write": path, "replace": rest[0] if rest else None, "unlink": path.parent}[name]
        if place == output.with_name(where):
            reached.append(path)
            raise KeyboardInterrupt
        return real(path, *rest)

    owner, attribute = (module, "write_json") if name == "write" else (Path, name)
    real = getattr(owner, attribute)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), part.opened():
        patch.setattr(owner, attribute, lambda path, *rest, **options: kill(path, *rest, **options))
        part.finish(PROMPTS, {})
    assert reached and output.exists() == (name == "unlink")
    assert new_part(output).is_done() or [row["response"] for row in finish(output)] == ["答0", "答1", "答2"]
    assert new_part(output).is_done() and not any(part.folder.iterdir())


def test_one_process_at_a_time_and_no_empty_folder_is_left(output):
    with part_folder(output) as folder:
        with pytest.raises(UserError, match=r"out.jsonl.part is being written by another process"), part_folder(output):
            pass
        assert folder.is_dir()
    assert not folder.exists()
    with part_folder(output):
        (folder / "kept").touch()
    assert folder.exists()
