"""What the base's licence asks of a release is done or the build is refused; no licence text is ever made up."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from command import UserError
from model_card import build
from model_card.licence import REPOSITORY, find_licence, licence_id
from run_folder import is_llama3_name
from tests.conftest import ROOT, hub_environment
from tests.made_run import BASE, make_model, make_run

STAND_IN = "META LLAMA 3 COMMUNITY LICENSE AGREEMENT (a stand-in for tests)\n"


def llama(folder: Path | None = None, **fields) -> dict:
    """The identity of a Llama 3 base: on the Hub, or in a folder."""
    where = (
        {"model": str(folder), "kind": "folder"}
        if folder
        else {"model": "meta-llama/Meta-Llama-3-8B-Instruct", "kind": "hub"}
    )
    return {
        **BASE,
        "hub_id": "meta-llama/Meta-Llama-3-8B-Instruct",
        "license": None,
        "revision": None,
        **where,
        **fields,
    }


@pytest.fixture(autouse=True)
def no_cache(monkeypatch, tmp_path):
    """No model of this machine's own cache takes part."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def texts(tmp_path) -> Path:
    folder = tmp_path / "Meta-Llama-3"
    folder.mkdir()
    (folder / "LICENSE").write_text(STAND_IN)
    (folder / "USE_POLICY.md").write_text("Acceptable Use Policy (a stand-in for tests)\n")
    return folder


def test_apache_is_the_repositorys_own_text_unchanged():
    licence = find_licence(BASE, "demo", {})
    assert licence.files["LICENSE"] == REPOSITORY / "LICENSE" and licence.metadata == {"license": "apache-2.0"}
    assert b"modified version of HuggingFaceTB/SmolLM2-135M-Instruct" in licence.files["NOTICE"]


def test_llama3_from_the_base_folder(tmp_path, texts):
    run = make_run(tmp_path / "run", base=llama(texts))
    assert build.main([str(run), "--repo-id", "alice/Llama-3-8B-Chinese-Demo"]) == 0
    release = run / "release"
    assert (release / "LICENSE").read_text() == STAND_IN
    assert (release / "USE_POLICY.md").read_bytes() == (texts / "USE_POLICY.md").read_bytes()
    assert (
        (release / "NOTICE")
        .read_text()
        .startswith("Meta Llama 3 is licensed under the Meta Llama 3 Community License, Copyright ©")
    )
    for card in ("README.md", "README_zh.md"):
        assert "**Built with Meta Llama 3**" in (release / card).read_text()
    assert "license: llama3\n" in (release / "README.md").read_text()


@pytest.mark.parametrize(
    "name", ["smollm2-demo", "Llama3-8B-Chinese-Chat", "Chinese-Llama-3-8B", "Llama-3.1-8B", "llama-3-8b"]
)
def test_llama3_names_that_its_licence_forbids(name, texts):
    with pytest.raises(UserError, match="does not begin with 'Llama 3' or 'Llama-3'"):
        find_licence(llama(texts), name, {})


def test_a_llama3_name_is_made_by_its_recipes_name(texts):
    """`reproduce.sh` names the run by its recipe's `name`, `--smoke` adds a suffix; the upload's check is the same function."""
    for name in ("Llama-3-8B-Chinese-Chat-v1", "Llama-3-8B-Chinese-Chat-v1-smoke", "Llama 3 8B Chat"):
        assert is_llama3_name(name) and find_licence(llama(texts), name, {}).name == "llama3"


HUB_STEPS = """
import json, sys
from huggingface_hub import HfApi
from inference.loading import fetch, identity, resolve
from model_card.licence import find_licence
api = HfApi()
api.create_repo("alice/Meta-Llama-3-Tiny")
api.upload_folder(repo_id="alice/Meta-Llama-3-Tiny", folder_path=sys.argv[1])
base = identity(resolve("alice/Meta-Llama-3-Tiny"))
found = find_licence(base, "Llama-3-Tiny-Chat", {"license": "llama3"}).files
apache = find_licence(base | {"license": "apache-2.0"}, "tiny-chat", {}).files["NOTICE"]
print(json.dumps([found["LICENSE"].read_text(), found["USE_POLICY.md"].read_text(), apache.decode()]))
assert not (fetch(resolve("alice/Meta-Llama-3-Tiny")) / "notes.md").exists()
"""


def test_the_texts_of_a_hub_base_come_with_it(hub_url, tmp_path, texts):
    make_model(texts)
    (texts / "NOTICE.txt").write_text("Notice of the base (a stand-in for tests)\n")
    (texts / "notes.md").write_text("not needed")
    done = subprocess.run(
        [sys.executable, "-c", HUB_STEPS, texts],
        cwd=ROOT,
        env=hub_environment(hub_url, tmp_path / "home"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    licence, policy, notice = json.loads(done.stdout.splitlines()[-1])
    assert (licence, policy) == (STAND_IN, (texts / "USE_POLICY.md").read_text())
    assert notice.startswith("Notice of the base (a stand-in for tests)\n\ntiny-chat is a modified version")


def test_llama3_without_its_texts_says_how_to_get_them(texts):
    with pytest.raises(
        UserError, match=r"--license-file FILE.*hf download meta-llama/Meta-Llama-3-8B-Instruct LICENSE"
    ):
        find_licence(llama(), "Llama-3-8B-Demo", {})
    with pytest.raises(UserError, match="--use-policy-file FILE"):
        find_licence(llama(), "Llama-3-8B-Demo", {"license_file": texts / "LICENSE"})
    with pytest.raises(UserError, match="is not the text that is needed"):
        find_licence(llama(), "Llama-3-8B-Demo", {"license_file": REPOSITORY / "LICENSE"})
    given = {"license_file": texts / "LICENSE", "use_policy_file": texts / "USE_POLICY.md"}
    assert set(find_licence(llama(), "Llama-3-8B-Demo", given).files) == {"LICENSE", "USE_POLICY.md", "NOTICE"}


@pytest.mark.parametrize("version", ["3.1", "3.2", "3.3"])
def test_later_llamas_ask_for_their_own_words(version, texts):
    """Sections 1.b.i and 1.b.iii of their licences: the family's name is enough, the notice names the version."""
    base = llama(texts, hub_id=f"meta-llama/Llama-{version}-8B-Instruct")
    with pytest.raises(UserError, match=f"does not contain 'LLAMA {re.escape(version)} COMMUNITY LICENSE'"):
        find_licence(base, "Llama-demo", {})
    (texts / "LICENSE").write_text(f"Llama {version} Community License Agreement (a stand-in for tests)\n")
    licence = find_licence(base, "Llama-demo", {})
    assert (licence.name, licence.built_with) == (f"llama{version}", "Built with Llama")
    assert licence.metadata == {"license": f"llama{version}"}
    words = licence.files["NOTICE"].decode()
    assert words.startswith(
        f"Llama {version} is licensed under the Llama {version} Community License, Copyright © Meta"
    )
    assert "Built with Llama. Llama-demo is a modified version" in words
    for name in ("demo", "Chinese-Llama-8B", "llama-demo"):
        with pytest.raises(UserError, match=f"does not begin with 'Llama', which the Llama {re.escape(version)} "):
            find_licence(base, name, {})


def test_gemma_asks_for_its_terms_and_its_notice(tmp_path):
    """Section 3.1 of the terms; Google's repositories do not hold the text, so it has to be given."""
    base = {**BASE, "kind": "folder", "model": str(tmp_path), "hub_id": None, "license": "gemma", "name": "gemma"}
    with pytest.raises(UserError, match="--license-file FILE"):
        find_licence(base, "demo", {})
    text = tmp_path / "terms.txt"
    text.write_text("Gemma Terms of Use (a stand-in for tests)\n")
    licence = find_licence(base, "demo", {"license_file": text})
    notice = licence.files["NOTICE"].decode()
    assert notice.startswith(
        "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma"
    )
    assert "demo is a modified version of gemma" in notice and "section 3.2" in notice
    assert licence.metadata == {"license": "gemma"} and licence.files["LICENSE"] == text


def test_a_llama_licence_that_is_not_known_is_refused_and_another_is_passed_on(tmp_path, texts):
    with pytest.raises(UserError, match=r"what the licence llama2 asks of a release .* is not known here"):
        find_licence(llama(texts, hub_id=None, license="llama2"), "Llama-2-demo", {})
    base = {**BASE, "kind": "folder", "model": str(tmp_path), "hub_id": None, "license": None}
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: house-licence\n---\n")
    assert licence_id(base, None) == "house-licence"


def test_an_unknown_licence_is_asked_for_and_a_wrong_one_refused(tmp_path):
    base = {**BASE, "kind": "folder", "model": str(tmp_path), "hub_id": None, "license": None, "name": "mystery"}
    with pytest.raises(UserError, match=r"licence of mystery is not recorded.*--license ID"):
        licence_id(base, None)
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    assert licence_id(base, None) == "mit"
    with pytest.raises(UserError, match="contradicts"):
        licence_id(BASE, "mit")
    with pytest.raises(UserError, match="mystery has no LICENSE beside its weights"):
        find_licence(base, "demo", {})


def test_a_licence_the_hub_does_not_know_is_other(tmp_path):
    text = tmp_path / "LICENSE.txt"
    text.write_text("Some licence.")
    licence = find_licence({**BASE, "license": "house-licence"}, "demo", {"license_file": text})
    assert licence.metadata == {"license": "other", "license_name": "house-licence", "license_link": "LICENSE"}


@pytest.mark.parametrize("licence", ["apache-2.0", "gemma", "mit"])
def test_a_use_policy_for_a_licence_without_one_is_refused(tmp_path, licence):
    with pytest.raises(UserError, match=f"--use-policy-file nope: {licence} has no use policy"):
        find_licence({"license": licence, "name": "x"}, "x", {"use_policy_file": Path("nope")})


def test_a_use_policy_that_is_not_there_is_refused(texts):
    with pytest.raises(UserError, match=r"nope is not a file.*--use-policy-file FILE"):
        find_licence(llama(texts), "Llama-3-x", {"use_policy_file": Path("nope")})


PUBLISH_TEXTS = """
import sys
from huggingface_hub import HfApi
api = HfApi()
for name in ("texts-at-build", "bare-base"):
    api.create_repo(f"alice/{name}")
api.upload_folder(repo_id="alice/texts-at-build", folder_path=sys.argv[1])
api.upload_file(repo_id="alice/bare-base", path_in_repo="config.json", path_or_fileobj=b"{}")
print(api.model_info("alice/texts-at-build").sha)
"""
BASE_ID = "alice/texts-at-build"

FIND = """
import json, sys
from command import UserError, WorkError
from huggingface_hub import HfApi
from model_card.licence import find_licence

def found(repo_id, licence, revision):
    base = {"model": repo_id, "kind": "hub", "name": "x", "hub_id": repo_id, "license": licence}
    try:
        base["revision"] = revision or HfApi().model_info(repo_id).sha
        files = find_licence(base, "Llama-3-Tiny", {}).files
    except (UserError, WorkError) as error:
        return f"{type(error).__name__} {error}"
    return {name: (c if isinstance(c, bytes) else c.read_bytes()).decode() for name, c in files.items()}

print(json.dumps([found(*case) for case in json.loads(sys.argv[1])]))
"""


def test_texts_that_are_not_here_are_fetched_at_the_pinned_revision(hub_url, tmp_path, texts):
    """A card may be built on another machine than the one that trained; without network nothing is made up."""
    (texts / "NOTICE").write_text("Notice of the base (a stand-in for tests)\n")
    (texts / "README.md").write_text("---\nlicense: llama3\n---\n")
    environment = hub_environment(hub_url, tmp_path / "home")

    def say(code: str, argument: object) -> str:
        command = [sys.executable, "-c", code, str(argument)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    revision = say(PUBLISH_TEXTS, texts)
    cases = [(BASE_ID, None, None), (BASE_ID, "apache-2.0", revision), ("alice/bare-base", "llama3", None)]
    own, apache, missing = json.loads(say(FIND, json.dumps(cases)))
    assert own["LICENSE"] == STAND_IN, "the base's own card says llama3"
    assert own["USE_POLICY.md"] == (texts / "USE_POLICY.md").read_text()
    assert "Notice of the base" in apache["NOTICE"]
    assert missing.startswith("UserError alice/bare-base has no LICENSE beside its weights here")

    environment["HF_HUB_OFFLINE"] = "1"
    away, commit = "alice/elsewhere", "0" * 40
    cases = [
        (BASE_ID, "llama3", revision),
        (away, "llama3", commit),
        (away, "apache-2.0", commit),
        (away, None, commit),
    ]
    cached, text, notice, unknown = json.loads(say(FIND, json.dumps(cases)))
    assert cached["LICENSE"] == STAND_IN, "it is in the cache now"
    assert text.startswith("UserError alice/elsewhere at 0000") and "the Hub cannot be reached" in text
    assert "--license-file FILE (hf download alice/elsewhere LICENSE)" in text
    assert notice.startswith("Unreachable"), "it may have a NOTICE"
    assert unknown.startswith("Unreachable") and "Give it: --license ID" in unknown
