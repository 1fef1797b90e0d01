"""What must never be pushed: each check has a spoiled release that it refuses, and a good one has no findings."""

import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from model_card import build
from publishing import release_checks, table_checks
from run_folder import file_sha256
from tests.conftest import ROOT
from tests.made_run import make_run

ID = "alice/smollm2-demo"


def finish(run: Path, repo_id: str = ID) -> Path:
    """A made-up run as training leaves one today, at this commit, with its release."""
    from transformers import AutoTokenizer

    from training.encoded_examples import encoding_record

    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    record = json.loads((run / "training.json").read_text(encoding="utf-8"))
    record |= encoding_record(AutoTokenizer.from_pretrained(run / "model"))
    record["git"] = {"commit": head.strip(), "dirty": False}
    (run / "training.json").write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")
    build.main([str(run), "--repo-id", repo_id])
    return run


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return finish(make_run(tmp_path_factory.mktemp("built") / "smollm2-demo"))


@pytest.fixture
def run_dir(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "smollm2-demo"))


def released(run_dir: Path) -> dict[str, Path]:
    release = run_dir / "release"
    return {p.relative_to(release).as_posix(): p for p in release.rglob("*") if p.is_file() or p.is_symlink()}


def findings(run_dir: Path, repo_id: str = ID) -> list[str]:
    files = released(run_dir)
    digests = {name: file_sha256(p) for name, p in files.items() if p.is_file()}
    return release_checks.check_release(run_dir, run_dir / "release", files, digests, repo_id)


def resum(run_dir: Path) -> None:
    """Write SHA256SUMS anew, as someone would who wants a spoiled release to pass."""
    unlisted = ("SHA256SUMS", "model.sig", "model.pub")
    lines = [f"{file_sha256(p)}  {name}\n" for name, p in sorted(released(run_dir).items()) if name not in unlisted]
    (run_dir / "release" / "SHA256SUMS").write_text("".join(lines))


def own(path: Path) -> Path:
    """A copy of its own in place of a file that may be a hard link."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    return path


# --- ways to spoil a release


def weights(run_dir: Path, change, **metadata: str) -> None:
    """Rewrite the weights after `change` did something to the tensors."""
    from safetensors.torch import load_file, save_file

    path = own(run_dir / "release" / "model.safetensors")
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt", **metadata})
    resum(run_dir)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit(run_dir: Path, name: str, old: str, new: str) -> None:
    replace(run_dir / "release" / name, old, new)
    resum(run_dir)


def set_json(run_dir: Path, name: str, **values) -> None:
    path = run_dir / "release" / name
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")
    resum(run_dir)


def spoil_json(run_dir: Path, text: str) -> None:
    edit(run_dir, "data_report.json", '"zh"', json.dumps(text))


def cut(run_dir: Path) -> None:
    path = own(run_dir / "release" / "model.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    resum(run_dir)


def add(run_dir: Path, name: str, data: bytes) -> None:
    path = run_dir / "release" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    resum(run_dir)


def drop(run_dir: Path, name: str) -> None:
    (run_dir / "release" / name).unlink()
    resum(run_dir)


def png(kind: bytes, body: bytes) -> bytes:
    """A PNG of no pixels with one chunk."""
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    )


def token_shift(run_dir: Path) -> None:
    """The tokenizer of another model: the same tokens under other numbers."""
    path = run_dir / "release" / "tokenizer.json"
    core = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = core["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(core), encoding="utf-8")
    resum(run_dir)


INDEX = "model.safetensors.index.json"
LAYER = "model.layers.0.mlp.up_proj.weight"
LOGIN = "https://" + "bob:geheim" + "@example.org/x"
FAULTS = {
    # files
    "stray file": (lambda r: add(r, "notes.txt", b"todo"), "notes.txt is not a file that a release may hold"),
    "stray script": (lambda r: add(r, "scripts/notes.txt", b"todo"), "scripts/notes.txt is not as scripts/SOURCE.json says"),
    "changed script": (lambda r: edit(r, "scripts/upload.py", "import", "import  "), "scripts/upload.py is not as scripts/SOURCE.json"),
    "script gone": (lambda r: drop(r, "scripts/training/loss.py"), "scripts/training/loss.py is not as"),
    "scripts of another commit": (lambda r: set_json(r, "scripts/SOURCE.json", commit="f" * 40), "scripts/ are of commit ffff"),
    "no scripts": (lambda r: (shutil.rmtree(r / "release" / "scripts"), resum(r)), "scripts/SOURCE.json is missing"),
    "licence file gone": (lambda r: drop(r, "LICENSE"), "LICENSE is missing"),
    "empty file": (lambda r: add(r, "recipe.yaml", b""), "recipe.yaml is empty"),
    "link": (lambda r: (r / "release" / "NOTICE").unlink() or (r / "release" / "NOTICE").symlink_to(r / "recipe.yaml"), "NOTICE is a symbolic link"),
    "lfs pointer": (lambda r: add(r, "vocab.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"), "vocab.json is a Git LFS pointer"),
    "pickle": (lambda r: add(r, "optimizer.pt", pickle.dumps(Path, 4)), "optimizer.pt is a pickle"),
    "disguised pickle": (lambda r: add(r, "merges.txt", pickle.dumps(Path, 4)), "merges.txt is a pickle"),
    "pickle of protocol 0": (lambda r: add(r, "vocab.json", pickle.dumps(print, 0)), "vocab.json is a pickle"),
    "archive": (lambda r: add(r, "merges.txt", b"PK\x03\x04rest"), "merges.txt is a pickle or an archive"),
    "edited after the build": (lambda r: replace(r / "release" / "LICENSE", "License", "Licence"), "LICENSE has changed since"),
    # secrets and paths
    "private key": (lambda r: spoil_json(r, "-----BEGIN " + "PRIVATE KEY-----\n" + "MIGHAgEAMBMGByqGSM49" * 3), "holds a private key"),
    "token": (lambda r: spoil_json(r, "hf_" + "a1B2" * 8 + "xy"), "holds a Hub token"),
    "aws key": (lambda r: spoil_json(r, "AKIA" + "ABCD" * 4), "holds an AWS key"),
    "password": (lambda r: spoil_json(r, LOGIN), "holds a password in a URL"),
    "home path": (lambda r: spoil_json(r, "/" + "home/alice/secret-project/pairs.jsonl"), "holds a path of a home folder"),
    "own path": (lambda r: spoil_json(r, f"{r.resolve()}/pairs.jsonl"), "holds a path of a home folder or of this machine"),
    "path in the weights": (lambda r: weights(r, lambda t: None, source=f"{r.resolve()}/x"), "model.safetensors:1 holds a path"),
    "path in a picture": (lambda r: add(r, "figures/a.png", png(b"tEXt", b"Source\0/" + b"home/alice/a.svg")), "figures/a.png:1 holds a path"),
    "token in a packed text": (lambda r: add(r, "figures/a.png", png(b"zTXt", b"Comment\0\0" + zlib.compress(b"hf_" + b"a1B2" * 8 + b"xy"))), "holds a Hub token"),
    # cards
    "no front matter": (lambda r: add(r, "README.md", b"# hello\n"), "README.md has no front matter"),
    "no licence": (lambda r: edit(r, "README.md", "license: apache-2.0\n", ""), "has no license"),
    "unknown licence": (lambda r: edit(r, "README.md", "license: apache-2.0", "license: apache2"), "license 'apache2' is no licence"),
    "nameless licence": (lambda r: edit(r, "README.md", "license: apache-2.0", "license: other"), "needs license_name and license_link"),
    "unknown task": (lambda r: edit(r, "README.md", "pipeline_tag: text-generation", "pipeline_tag: chat"), "pipeline_tag 'chat' is no task"),
    "unknown relation": (lambda r: edit(r, "README.md", "relation: finetune", "relation: tuned"), "base_model_relation 'tuned' is none of"),
    "unknown language": (lambda r: edit(r, "README.md", "- zh\n", "- Chinese\n"), "language 'Chinese' is no ISO 639 code"),
    "base is no id": (lambda r: edit(r, "README.md", "base_model: ", "base_model: ./models/"), "is no id on the Hub"),
    "edited index": (lambda r: edit(r, "README.md", "value: 0.83", "value: 0.93"), "comparison.json does not"),
    "edited table": (lambda r: edit(r, "README.md", "83.0\u00a0%", "93.0\u00a0%"), "the table says 93.0, the records do not"),
    "edited Chinese table": (lambda r: edit(r, "README_zh.md", "83.0\u00a0%", "93.0\u00a0%"), "the table says 93.0, the records do not"),
    "edited setting": (lambda r: edit(r, "README.md", "| `beta` | `0.05`", "| `beta` | `0.5`"), "the table says 0.5, the records"),
    "broken link": (lambda r: edit(r, "README.md", "## Licence", "[plan](docs/plan.md)\n\n## Licence"), "links to docs/plan.md"),
    "broken picture": (lambda r: edit(r, "README_zh.md", "## ", "![x](figures/none.png)\n\n## "), "README_zh.md links to figures/none.png"),
    "llama name": (lambda r: edit(r, "README.md", "license: apache-2.0", "license: llama3"), "a name that begins with Llama-3"),
    "llama 3.2 name": (lambda r: edit(r, "README.md", "license: apache-2.0", "license: llama3.2"), "llama3.2 asks for a name that begins with Llama"),
    "llama 3.3 words": (lambda r: edit(r, "README.md", "license: apache-2.0", "license: llama3.3"), "README_zh.md does not say “Built with Llama”"),
    "llama 3.1 policy": (lambda r: edit(r, "README.md", "license: apache-2.0", "license: llama3.1"), "USE_POLICY.md is missing"),
    "gemma notice": (lambda r: (edit(r, "README.md", "license: apache-2.0", "license: gemma"), drop(r, "NOTICE")), "NOTICE is missing; the licence gemma asks"),
    "llama words": (lambda r: edit(r, "README.md", "license: apache-2.0", "license: llama3"), "does not say “Built with Meta Llama 3”"),
    # records
    "number changed later": (lambda r: replace(r / "eval" / "comparison.json", "0.83", "0.13"), "eval/comparison.json in the run folder is not"),
    "trained later": (lambda r: replace(r / "training.json", "23.5", "24.5"), "training.json in the run folder is not"),
    # weights
    "nan": (lambda r: weights(r, lambda t: t[LAYER].view(-1)[3:4].fill_(float("nan"))), f"{LAYER} holds NaN or Infinity"),
    "infinity": (lambda r: weights(r, lambda t: t[LAYER].view(-1)[3:4].fill_(float("inf"))), f"{LAYER} holds NaN or Infinity"),
    "tensor gone": (lambda r: weights(r, lambda t: t.pop(LAYER)), f"the weights lack {LAYER}"),
    "wrong shape": (lambda r: weights(r, lambda t: t.update({LAYER: t[LAYER][:3].clone()})), f"{LAYER} has shape (3, 16)"),
    "extra tensor": (lambda r: weights(r, lambda t: t.update(stray=t[LAYER].clone())), "hold stray, which config.json does not"),
    "other type": (lambda r: weights(r, lambda t: t.update({LAYER: t[LAYER].half()})), f"config.json says dtype float32; {LAYER} is float16"),
    "untied": (lambda r: weights(r, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] + 1})), "config.json ties lm_head"),
    "truncated": (cut, "model.safetensors does not open"),
    "config": (lambda r: add(r, "config.json", b'{"model_type": "nope"}'), "config.json does not make a model"),
    "config of odd words": (lambda r: set_json(r, "config.json", hidden_size="x"), "config.json does not make a model (Validation error for field 'hidden_size'"),
    "config of an odd type": (lambda r: set_json(r, "config.json", dtype={}), "config.json does not make a model"),
    "index of odd words": (lambda r: add(r, INDEX, b'{"weight_map": [3]}'), f"{INDEX} is not of the known form"),
    # encoding
    "tokenizer of odd words": (lambda r: add(r, "tokenizer_config.json", b"[]"), "the tokenizer does not load"),
    "no generation config": (lambda r: drop(r, "generation_config.json"), "generation_config.json is missing"),
    "stop token gone": (lambda r: set_json(r, "generation_config.json", eos_token_id=[3]), "does not stop at the end of a turn"),
    "sampling open": (lambda r: set_json(r, "generation_config.json", top_k=None), "leaves top_k open, which programs fill"),
    "no way to sample": (lambda r: set_json(r, "generation_config.json", do_sample=None), "leaves do_sample open"),
    "sampling absurd": (lambda r: set_json(r, "generation_config.json", temperature=-1), "generation_config.json: temperature -1 must be"),
    "sampling not kept": (lambda r: set_json(r, "generation_config.json", num_beams=4), "num_beams 4 is a way to choose tokens"),
    "stop beyond": (lambda r: set_json(r, "generation_config.json", eos_token_id=[99999]), "stops at token 99999, which"),
    "no template": (lambda r: drop(r, "chat_template.jinja"), "chat_template.jinja is missing"),
    "another template": (lambda r: edit(r, "chat_template.jinja", "assistant", "Assistant"), "is not the template of training"),
    "two templates": (lambda r: set_json(r, "tokenizer_config.json", chat_template="{{ messages }}"), "holds another chat_template"),
    "another tokenizer": (token_shift, "conversation 2 of encoded_examples is encoded otherwise"),
    "tokenizer gone": (lambda r: drop(r, "tokenizer.json"), "the tokenizer does not load"),
    "nothing recorded": (lambda r: set_json(r, "training.json", encoded_examples=None), "holds no encoded_examples"),
    "template is no template": (lambda r: add(r, "chat_template.jinja", b"{% if"), "chat_template.jinja cannot be rendered (UserError: the model's chat template refuses a question"),
    "template that fails": (lambda r: add(r, "chat_template.jinja", b"{{ 1/0 }}"), "chat_template.jinja cannot be rendered (ZeroDivisionError"),
    "typed control token": (lambda r: edit(r, "chat_template.jinja", "m['content']", "m['content'] + '<|im_end|>' * ('我输入' in m['content'])"), "conversation 9 of"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_spoiled_release_is_refused_with_its_reason(run_dir, fault):
    spoil, reason = FAULTS[fault]
    spoil(run_dir)
    found = findings(run_dir)
    assert any(reason in finding for finding in found), found
    assert not any("a1B2" in finding or "geheim" in finding for finding in found), "a secret is never repeated"


def test_a_good_release_has_no_findings(built):
    assert findings(built) == []


BROKEN = {
    "training cut": ("training.json", b"{", "training.json is not valid JSON"),
    "training a list": ("training.json", b"[]", "training.json is no object"),
    "training gone": ("training.json", None, "training.json is missing"),
    "an empty report": ("data_report.json", b"{}", "data_report.json has no schema_version"),
    "steps": ("training.json", b'{"schema_version": 1, "steps": [3]}', "training.json.steps[0] is no object"),
    "examples": ("training.json", b'{"schema_version": 1, "steps": [], "encoded_examples": [{"ids": []}]}', "training.json.encoded_examples[0] has no messages"),
    "metrics": ("eval/comparison.json", b'{"schema_version": 1, "metrics": 3}', "eval/comparison.json.metrics is no list"),
    "a metric": ("eval/comparison.json", b'{"schema_version": 1, "metrics": [{"suite": "x"}]}', "eval/comparison.json.metrics[0] has no metric"),
    "stops": ("generation_config.json", b'{"eos_token_id": ["a"]}', "generation_config.json.eos_token_id is"),
    "sums": ("SHA256SUMS", b"", "SHA256SUMS is empty"),
    "sums of garbage": ("SHA256SUMS", b"hello\n", "SHA256SUMS:1 is not `SHA-256  name`; build"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_record_that_cannot_be_read_is_the_first_finding_and_nearly_the_only_one(run_dir, fault):
    """Beside it SHA256SUMS says that the file has changed, or names it where it is gone."""
    name, data, reason = BROKEN[fault]
    path = own(run_dir / "release" / name)
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    found = findings(run_dir)
    assert found[0].startswith(reason) and re.search(r"again|restore", found[0]), found
    assert len(found) <= 2 and all(name in finding for finding in found), found


@pytest.mark.parametrize("name", ["vocab.json", "training.json", "stray"])
def test_a_named_pipe_is_a_finding_and_nothing_waits_for_it(run_dir, name):
    files = released(run_dir)
    pipe = run_dir / "release" / name
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    digests = {n: file_sha256(p) for n, p in files.items() if p.is_file()}
    found = release_checks.check_release(run_dir, run_dir / "release", files | {name: pipe}, digests, ID)
    assert any(f"{name} is no file but a named pipe" in finding for finding in found), found


# What models write, and what only looks like a secret or a path of the one who publishes.
HARMLESS = """💬 用 token（令牌）登录：access token, <|end|>, hf_token, sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
cd /home/user/project && ls /root/.bashrc ~/data C:\\Users\\Administrator /Users/yourname
git clone https://user:password@example.com/x.git; AWS: AKIAIOSFODNN7EXAMPLE
eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U
一把私钥以 -----BEGIN PRIVATE KEY----- 开头。| a | 12.5 | <b>13</b> [x](docs/none.md) ![y](none.png) $3^4$ 1,234 %"""


def answer(run: Path, text: str) -> None:
    """Both models say this to every prompt."""
    for path in run.glob("eval/*/generations.jsonl"):
        rows = [json.loads(line) | {"response": text} for line in path.read_text(encoding="utf-8").splitlines()]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("user", ["root", "user", "bob"])
def test_what_a_model_may_write_is_no_finding(tmp_path, monkeypatch, user):
    """Whoever publishes: in a container everybody is root, on many machines user."""
    run = make_run(tmp_path / "smollm2-demo")
    answer(run, HARMLESS)
    finish(run)
    assert "Administrator" in (run / "release" / "README.md").read_text(encoding="utf-8")
    monkeypatch.setenv("LOGNAME", user)
    monkeypatch.setenv("HOME", "/root" if user == "root" else f"/home/{user}")
    assert findings(run) == []


def test_the_home_of_who_publishes_stands_in_no_answer(tmp_path, monkeypatch):
    run = make_run(tmp_path / "smollm2-demo")
    answer(run, "cd /home/" + "bob/secret")
    finish(run)
    monkeypatch.setenv("LOGNAME", "bob")
    assert any("README.md" in said and "holds a path of a home folder" in said for said in findings(run))


def test_all_findings_come_at_once(run_dir):
    for fault in ("pickle", "home path", "truncated", "edited table"):
        FAULTS[fault][0](run_dir)
    found = "\n".join(findings(run_dir))
    assert all(word in found for word in ("optimizer.pt", "home folder", "does not open", "the table says"))


@pytest.mark.parametrize("built_as", [None, "alice/smollm2-demo-2"], ids=["the run's name", "another repository"])
def test_a_card_that_loads_another_model_is_refused(run_dir, built_as):
    """Built without --repo-id, the snippet says model_id = "YOUR-ORG/smollm2-demo", which is on no Hub."""
    build.main([str(run_dir), *(["--repo-id", built_as] if built_as else [])])
    for card in ("README.md", "README_zh.md"):
        said = f"{card} tells readers to load another model than {ID}; build it again: "
        said += f".venv/bin/python -m model_card.build {run_dir} --repo-id {ID}"
        assert findings(run_dir).count(said) == 1


# --- tables


def test_an_edited_digit_anywhere_in_a_table_is_found(built):
    """Every last digit of every number in every table of both cards, edited one at a time, as by hand in one card."""
    release = built / "release"
    cards = {name: (release / name).read_text(encoding="utf-8") for name in table_checks.CARDS}
    rows = {name: list(table_checks.table_rows(text)) for name, text in cards.items()}
    whole = {
        name: [(n, table_checks.quoted_in(r) + table_checks.printed_in(r)) for n, r in rows[name]] for name in rows
    }
    edits = 0
    for name, other in (("README.md", "README_zh.md"), ("README_zh.md", "README.md")):
        for place, (number, row) in enumerate(rows[name]):
            for changed in edited(row):
                edits += 1
                told = [*whole[name]]
                told[place] = (number, table_checks.quoted_in(changed) + table_checks.printed_in(changed))
                assert table_checks.differences(told, whole[other]), changed
    assert edits > 200


def test_a_digit_edited_alike_in_both_cards_is_found_in_nearly_every_place(built):
    """Nine of ten: what is left is a count in a row without a name (`Training pairs`) that becomes another record's count."""
    release = built / "release"
    records = {name: table_checks.json_of(release / name) for name in table_checks.RECORDS}
    fields = table_checks.Fields(records, [*table_checks.json_of(release / "config.json").values(), ID])
    rows = [row for _, row in table_checks.table_rows((release / "README.md").read_text(encoding="utf-8"))]
    found = [bool(table_checks.unexplained(changed, fields)) for row in rows for changed in edited(row)]
    assert len(found) > 100 and sum(found) / len(found) > 0.9


def edited(row: list[str]):
    """The row with the last digit of one number one higher, for each number of its cells but the first."""
    for place, cell in enumerate(row[1:], 1):
        for match in re.finditer(r"(?<![\w.])[\d,.]*\d(?!\w)", re.sub(r"<[^>]*>", lambda tag: "·" * len(tag[0]), cell)):
            end = match.end() - 1
            yield [*row[:place], f"{cell[:end]}{(int(cell[end]) + 1) % 10}{cell[end + 1 :]}", *row[place + 1 :]]


@pytest.mark.parametrize(
    ("printed", "value", "same"),
    [("83.0", 0.83, True), ("83.1", 0.83, False), ("140.2", 140.25, True), ("1,234", 1233.6, True), ("5e-06", 5e-6, True),
     ("6e-06", 5e-6, False), ("-1.3", -1.33, True), ("1.3", -1.33, False), ("−1.3", -1.33, True), ("1", True, False),
     ("0.05", 0.05, True), ("0.5", 0.05, False), ("2", None, False)],
)  # fmt: skip
def test_a_printed_number_stands_for_what_rounds_to_it(printed, value, same):
    assert table_checks.means(printed, value) is same


def test_swapped_sides_are_found(run_dir):
    path = run_dir / "release" / "README.md"
    text = path.read_text(encoding="utf-8")
    row = next(line for line in text.split("\n") if "`chinese_rate`" in line and "83.0\u00a0%" in line)
    base, tuned = "47.0\u00a0% [36.0,\u00a058.0]", "83.0\u00a0% [72.0,\u00a094.0]"
    swapped = row.replace(base, "X").replace(tuned, base)
    path.write_text(text.replace(row, swapped.replace("X", tuned)), encoding="utf-8")
    resum(run_dir)
    assert any("the table says" in finding for finding in findings(run_dir))


def test_the_column_of_an_earlier_version_is_not_held_against_this_ones_records(run_dir):
    for name, heading in zip(table_checks.CARDS, table_checks.CHANGES, strict=True):
        path = run_dir / "release" / name
        table = f"\n## {heading}\n\n| | Then | Now |\n| --- | --- | --- |\n| `beta` | `0.777` | `0.05` |\n"
        path.write_text(path.read_text(encoding="utf-8") + table, encoding="utf-8")
    resum(run_dir)
    assert findings(run_dir) == []
    for name in table_checks.CARDS:
        edit(run_dir, name, "| `0.777` | `0.05` |", "| `0.05` | `0.777` |")
    assert len([f for f in findings(run_dir) if "the table says 0.777" in f]) == 2


def test_what_is_quoted_in_a_code_block_is_no_table():
    text = "````text\n| `a` | 12 |\n```\n| 13 |\n````\n| x | 14 |\n~~~\n| 15 |\n~~~\n"
    assert [row for _, row in table_checks.table_rows(text)] == [["x", "14"]]


# --- weights in several files


@pytest.fixture
def sharded(tmp_path) -> Path:
    from transformers import AutoModelForCausalLM

    run = make_run(tmp_path / "smollm2-demo", evaluated=False)
    model = AutoModelForCausalLM.from_pretrained(run / "model")
    (run / "model" / "model.safetensors").unlink()
    model.save_pretrained(run / "model", max_shard_size="12KB")
    record = json.loads((run / "training.json").read_text(encoding="utf-8"))
    record["model_sha256"] = {p.name: file_sha256(p) for p in (run / "model").glob("*.safetensors")}
    (run / "training.json").write_text(json.dumps(record), encoding="utf-8")
    return finish(run)


def test_a_sharded_release_is_whole_or_refused(sharded):
    shards = sorted((sharded / "release").glob("*.safetensors"))
    assert len(shards) > 2 and re.fullmatch(r"model-00001-of-\d{5}\.safetensors", shards[0].name)
    assert findings(sharded) == []
    index = json.loads((sharded / "release" / INDEX).read_text())
    name, place = next(iter(index["weight_map"].items()))
    other = next(shard.name for shard in shards if shard.name != place)
    for change, said in (
        ({"weight_map": index["weight_map"] | {name: other}}, f"{name} is said to be in {other}"),
        ({"weight_map": {n: p for n, p in index["weight_map"].items() if n != name}}, f"{name} is said to be in None"),
        ({"weight_map": index["weight_map"] | {"stray": place}}, "stray is said to be in|names stray"),
        ({"metadata": {"total_size": 5}}, "says 5 bytes of weights"),
    ):
        set_json(sharded, INDEX, **(index | change))
        assert any(re.search(said, finding) for finding in findings(sharded)), said
    drop(sharded, INDEX)
    assert any(f"{INDEX} is missing" in finding for finding in findings(sharded))
    drop(sharded, shards[1].name)
    assert any("the weights lack" in finding for finding in findings(sharded))


def test_llama_3_must_stop_at_both_of_its_ends(tmp_path):
    """Its answers end with <|eot_id|>, its texts with <|end_of_text|>; a config that names one runs on past the other."""
    from publishing.encoding_checks import check_stops
    from tests.conftest import make_tiny_tokenizer

    tokenizer = make_tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|eot_id|>", "<|end_of_text|>"]})
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}<|eot_id|>{% endfor %}"
    tokenizer.eos_token = "<|end_of_text|>"
    eot, end = tokenizer.convert_tokens_to_ids(["<|eot_id|>", "<|end_of_text|>"])
    for stops, missing in (([eot, end], []), ([end], ["<|eot_id|>"]), (eot, ["<|end_of_text|>"])):
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))
        found = check_stops(tmp_path, tokenizer)
        assert all(any(token in finding for finding in found) for token in missing) and bool(found) == bool(missing)
