"""Every form into one; every bad row named; every dropped row counted."""

import json
import subprocess
import sys

import pytest

from command import UserError
from tests.conftest import ROOT, SHARED, hub_environment
from training.preferences import SUITES, held_out_prompts, load_preferences, parse_row

TURN = {"role": "user", "content": "问"}
FORMS = {
    "trl conversational": {"prompt": [TURN], "chosen": [{"role": "assistant", "content": "好"}], "rejected": [{"role": "assistant", "content": "坏"}]},
    "trl plain": {"prompt": "问", "chosen": "好", "rejected": "坏"},
    "sharegpt": {"conversations": [{"from": "human", "value": "问"}], "chosen": {"from": "gpt", "value": "好"}, "rejected": {"from": "gpt", "value": "坏"}},
    "old answer list": {"question": "问", "answer": ["好", "坏"]},
}  # fmt: skip


@pytest.fixture
def suites(tmp_path):
    folder = tmp_path / "suites"
    folder.mkdir()
    (folder / "held.jsonl").write_text('{"id": "h", "prompt": "天空为什么是蓝色的?"}\n', encoding="utf-8")
    return folder


def write_rows(path, rows):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r, ensure_ascii=False)) + "\n" for r in rows))
    return [{"path": str(path)}]


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_become_one(form):
    pair = parse_row(FORMS[form], "x:1")
    assert (pair.prompt, pair.chosen, pair.rejected) == ((TURN,), "好", "坏")


def test_system_and_history():
    row = {"system": "S", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "human", "value": "c"}], "chosen": "x", "rejected": "y"}  # fmt: skip
    assert [m["role"] for m in parse_row(row, "x:1").prompt] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([], "a row is an object"),
        ({"chosen": "a", "rejected": "b"}, "has no prompt"),
        ({"prompt": "p", "chosen": "a"}, "has no `rejected`"),
        ({"prompt": "p", "chosen": "", "rejected": "b"}, "chosen is empty"),
        ({"prompt": "p", "chosen": 3, "rejected": "b"}, "`chosen` is int"),
        ({"prompt": [], "chosen": "a", "rejected": "b"}, "`prompt` is empty"),
        ({"prompt": [{"role": "robot", "content": "x"}], "chosen": "a", "rejected": "b"}, "role 'robot'"),
        ({"prompt": [{"role": "assistant", "content": "x"}], "chosen": "a", "rejected": "b"}, "roles are assistant"),
        ({"prompt": [TURN, TURN], "chosen": "a", "rejected": "b"}, "roles are user, user"),
        ({"prompt": "p", "chosen": TURN, "rejected": "b"}, "turn of the user"),
        ({"prompt": "\ud800", "chosen": "a", "rejected": "b"}, "prompt holds a lone surrogate"),
        ({"question": "p", "answer": ["a"]}, "list of two texts"),
    ],
)
def test_malformed_rows_say_why(row, message):
    with pytest.raises(ValueError, match=message):
        parse_row(row, "x:1")


def test_all_bad_rows_at_once_with_their_lines(tmp_path, suites):
    rows = [FORMS["trl plain"], {"prompt": "p"}, FORMS["trl plain"], {"prompt": "q", "chosen": "a", "rejected": 1}]
    with pytest.raises(UserError) as caught:
        load_preferences(write_rows(tmp_path / "p.jsonl", rows), suites)
    assert "2 malformed" in str(caught.value)
    assert f"{tmp_path}/p.jsonl:2: " in str(caught.value)
    assert f"{tmp_path}/p.jsonl:4: " in str(caught.value)


def test_broken_json_has_its_line(tmp_path, suites):
    with pytest.raises(UserError, match=r"p\.jsonl:2: not valid JSON"):
        load_preferences(write_rows(tmp_path / "p.jsonl", [FORMS["trl plain"], "{broken"]), suites)


def test_dropped_rows_are_counted_by_reason(tmp_path, suites):
    rows = [
        {"prompt": "甲", "chosen": "好", "rejected": "坏"},
        {"prompt": "甲", "chosen": "好", "rejected": "坏"},
        {"prompt": "乙", "chosen": "same ", "rejected": "Same"},
        {"prompt": "天空为什么是蓝色的？", "chosen": "散射。", "rejected": "不知道。"},
    ]
    data = load_preferences(write_rows(tmp_path / "p.jsonl", rows), suites)
    assert len(data.pairs) == 1
    assert data.dropped == {"exact duplicate": 1, "chosen equals rejected": 1, "overlaps an eval suite": 1}
    assert data.sources[0]["rows"] == 4
    assert data.sources[0]["kept"] == 1


@pytest.mark.parametrize(
    ("prompt", "dropped"),
    [
        ("天空为什么是红色的？", True),  # one word changed
        ("请问，天空为什么是蓝色的呢？", True),
        ("海水为什么是咸的？", False),
        ("天空", False),
    ],
)
def test_near_copies_of_eval_prompts_are_dropped(suites, prompt, dropped):
    assert held_out_prompts(suites).overlaps(prompt) == dropped


def test_short_prompts_of_one_form_are_kept(tmp_path):
    (tmp_path / "held.jsonl").write_text('{"id": "h", "prompt": "关税是什么意思？"}\n', encoding="utf-8")
    assert not held_out_prompts(tmp_path).overlaps("湿度是什么意思？")


def test_only_the_last_user_turn_is_compared(tmp_path, suites):
    turns = ["天空为什么是红色的？", "因为散射。", "那么云呢？"]
    prompt = [{"role": role, "content": t} for role, t in zip(("user", "assistant", "user"), turns, strict=True)]
    rows = [{"prompt": prompt, "chosen": "好", "rejected": "坏"}]
    assert len(load_preferences(write_rows(tmp_path / "p.jsonl", rows), suites).pairs) == 1


def test_the_demo_drops_nothing():
    data = load_preferences([{"path": str(SUITES.parent.parent / "training" / "data" / "demo_pairs.jsonl")}])
    assert (len(data.pairs), data.dropped) == (452, {})


def test_json_array_parquet_and_jsonl_agree(tmp_path, suites):
    from pyarrow import Table, parquet

    rows = [{"prompt": f"问{i}", "chosen": "好", "rejected": "坏"} for i in range(3)]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    parquet.write_table(Table.from_pylist(rows), tmp_path / "p.parquet")
    write_rows(tmp_path / "p.jsonl", rows)
    digests = {
        load_preferences([{"path": str(tmp_path / f"p.{s}")}], suites).sha256 for s in ("json", "parquet", "jsonl")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "does not exist"),
        ("empty.jsonl", b"", "no pair to train on"),
        ("latin.jsonl", b'{"prompt": "\xe9"}', "not UTF-8"),
        ("object.json", b'{"prompt": "p"}', "a list of rows is needed"),
        ("p.parquet", b"PAR", "not a readable Parquet"),
        ("p.txt", b"x", "unknown kind of file"),
    ],
)
def test_bad_files_are_named(tmp_path, suites, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_preferences([{"path": str(path)}], suites)


def test_a_missing_suite_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match="overlap with it cannot be ruled out"):
        load_preferences(write_rows(tmp_path / "p.jsonl", [FORMS["trl plain"]]), tmp_path / "nowhere")


def test_real_rows_of_the_articles_data(suites):
    folder = SHARED / "data" / "preference"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the real rows are not part of the project")
    data = load_preferences([{"path": str(folder / f"dpo_{lang}_demo.json")} for lang in ("en", "zh")], suites)
    assert [source["rows"] for source in data.sources] == [300, 300]
    assert len(data.pairs) + sum(data.dropped.values()) == 600


HUB_STEPS = """
import json
from huggingface_hub import CommitOperationAdd, HfApi
from command import UserError
from training.preferences import load_preferences, pin, read_hub

def commit(card, **files):
    texts = {"README.md": card} | {f"{name}.json": json.dumps(rows) for name, rows in files.items()}
    changes = [CommitOperationAdd(path, text.encode()) for path, text in texts.items()]
    return api.create_commit("alice/pairs", changes, commit_message="x", repo_type="dataset").oid

api = HfApi()
api.create_repo("alice/pairs", repo_type="dataset")
configs = [{"config_name": name, "data_files": f"{name}.json"} for name in ("en", "zh")]
card = "---\\nconfigs: " + json.dumps(configs) + "\\n---\\n"
row = lambda text: {"prompt": text, "chosen": "good", "rejected": "bad"}
pinned = commit(card, en=[row("a"), row("b")], zh=[row("甲")])
newest = commit(card, en=[row("later")], zh=[row("later")])
source = {"path": "alice/pairs", "revision": pinned}
assert list(read_hub({**source, "name": "zh"})) == [("alice/pairs/zh[1]", row("甲"))]
assert [r["prompt"] for _, r in read_hub({**source, "name": "en"})] == ["a", "b"]
assert [r["prompt"] for _, r in read_hub({"path": "alice/pairs", "name": "en"})] == ["later"]
assert load_preferences([{"path": "alice/pairs", "name": "en"}]).sources[0]["revision"] == newest
for wrong, named in (
    ({"path": "alice/none", "name": "en"}, "alice/none"),
    ({"path": "alice/pairs", "name": "en", "revision": "v9"}, "v9"),
    ({"path": "alice/pairs", "name": "fr", "revision": pinned}, "fr"),
):
    try:
        list(read_hub(pin(wrong)))
    except UserError as error:
        assert named in str(error) and wrong["path"] in str(error) and ".." not in str(error), error
    else:
        raise SystemExit(f"{wrong} was not refused")
"""


def test_a_hub_data_set_with_two_configs_at_a_pinned_revision(hub_url, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HUB_STEPS],
        cwd=ROOT,
        env=hub_environment(hub_url, tmp_path / "home"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
