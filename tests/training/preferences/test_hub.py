"""A data set of a Hub on loopback: configs, splits, a pinned revision, streamed or not, and what is wrong said by its name."""

import subprocess
import sys

from tests.conftest import ROOT, hub_environment

STEPS = """
import json
from huggingface_hub import CommitOperationAdd, HfApi
from command import UserError
from training.preferences.findings import Finding
from training.preferences.hub import pin
from training.preferences.sources import read_source

def commit(card, **files):
    texts = {"README.md": card} | {name.replace("_", "."): text for name, text in files.items()}
    changes = [CommitOperationAdd(path, text.encode()) for path, text in texts.items()]
    return api.create_commit("alice/preferences", changes, commit_message="x", repo_type="dataset").oid

api = HfApi()
api.create_repo("alice/preferences", repo_type="dataset")
files = {"en": "en.json", "zh": [{"split": "train", "path": "zh.json"}, {"split": "test", "path": "test.json"}], "bad": "bad.jsonl"}
configs = [{"config_name": name, "data_files": files[name]} for name in files]
card = "---\\nconfigs: " + json.dumps(configs) + "\\n---\\n"
row = lambda text: {"prompt": text, "chosen": "good", "rejected": "bad"}
more = lambda text: {**row(text), "score": 1.5}
broken = "\\n".join(json.dumps(row(str(i))) for i in range(200)) + "\\n{broken\\n"
pinned = commit(card, en_json=json.dumps([more("a"), more("b")]), zh_json=json.dumps([row("甲")]),
                test_json=json.dumps([row("试")]), bad_jsonl=broken)
newest = commit(card, en_json=json.dumps([row("later")]))
source = {"path": "alice/preferences", "revision": pinned}
for streaming in (False, True):
    read = lambda **more: list(read_source({**source, "streaming": streaming, **more}))
    assert read(name="zh") == [("alice/preferences/zh[1]", row("甲"))]
    assert read(name="zh", split="test") == [("alice/preferences/zh[1]", row("试"))]
    assert [r for _, r in read(name="en")] == [row("a"), row("b")], "only the columns of a pair"
assert pin({"path": "alice/preferences", "name": "en"})["revision"] == newest
for wrong, named in (
    ({"path": "alice/none", "name": "en"}, "alice/none"),
    ({"path": "alice/preferences", "name": "en", "revision": "v9\\x1b[31m"}, "v9"),
    ({"path": "alice/preferences", "name": "fr", "revision": pinned}, "fr"),
    ({"path": "alice/preferences", "name": "zh", "split": "dev", "revision": pinned}, "dev"),
    ({"path": "alice/preferences", "name": "bad", "revision": pinned}, "bad"),
    ({"path": "alice/preferences", "name": "fr", "revision": pinned, "streaming": True}, "fr"),
    ({"path": "alice/preferences", "name": "zh", "split": "dev", "revision": pinned, "streaming": True}, "dev"),
):
    try:
        found = list(read_source(pin(wrong)))
    except UserError as error:
        assert named in str(error) and wrong["path"] in str(error) and ".." not in str(error), error
        assert str(error).isprintable(), error
        print(error)
    else:
        raise SystemExit(f"{wrong} was not refused: {found}")
try:
    print(read(name="bad")[-1][1])
except UserError as error:
    print(error)
"""


def test_data_sets_of_the_hub(hub_url, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        cwd=ROOT,
        env=hub_environment(hub_url, tmp_path / "home"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
