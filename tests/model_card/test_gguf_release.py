"""The GGUF repository: files by the release's name, a card that says what export.json says, nothing of other weights."""

import json
import re

import pytest
import yaml

from command import UserError
from inference import export_gguf
from model_card.gguf_release import plan_gguf_release
from model_card.licence import Licence
from model_card.records import Run
from run_folder import write_json
from tests.conftest import make_tiny_model, make_tiny_tokenizer

LICENCE = Licence("apache-2.0", {"LICENSE": b"text", "NOTICE": b"notice"})


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A run folder with model/ and gguf/."""
    folder = tmp_path_factory.mktemp("run")
    tokenizer = make_tiny_tokenizer()
    make_tiny_model(len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    export_gguf.main([str(folder / "model"), "--name", "demo"])
    return folder


@pytest.fixture
def run(exported, tmp_path):
    """The run with gguf/ of its own."""
    (tmp_path / "gguf").mkdir()
    for file in (exported / "gguf").iterdir():
        (tmp_path / "gguf" / file.name).write_bytes(file.read_bytes())
    digests = json.loads((exported / "gguf" / "export.json").read_text())["source"]["files"]
    training = {"model_sha256": {"config.json": "ab" * 32, "model.safetensors": digests["model.safetensors"]}}
    return Run(tmp_path, training, None, None, {}, [], {}, {})


def export_record(run):
    return json.loads((run.folder / "gguf" / "export.json").read_text(encoding="utf-8"))


def change(run, **values):
    """export.json with other values."""
    record = export_record(run) | values
    record.pop("schema_version")
    write_json(run.folder / "gguf" / "export.json", record)


def test_the_files_take_the_releases_name(run):
    files = plan_gguf_release(run, "Other_Name", "alice/Other_Name", LICENCE)
    names = [f"Other_Name-{kind}.gguf" for kind in ("f16", "q8_0", "q4_0")]
    rest = ["LICENSE", "Modelfile", "NOTICE", "README.md", "README_zh.md", "export.json", "params", "template"]
    assert sorted(files) == sorted(names + rest)
    assert files[names[0]] == run.folder / "gguf" / "demo-f16.gguf"
    assert files["Modelfile"].startswith(b"FROM ./Other_Name-q4_0.gguf\nTEMPLATE")
    assert list(json.loads(files["export.json"])["files"]) == names


def test_front_matter_points_to_the_model(run):
    card = plan_gguf_release(run, "demo", "alice/demo", LICENCE)["README.md"].decode()
    data = yaml.safe_load(card.split("---\n")[1])
    assert (data["base_model"], data["base_model_relation"]) == ("alice/demo", "quantized")
    assert (data["license"], data["library_name"], data["pipeline_tag"]) == ("apache-2.0", "gguf", "text-generation")
    assert data["language"] == ["zh", "en"]


def test_every_number_comes_from_the_export_and_both_languages_say_the_same(run):
    sampling = {"temperature": 0.35, "top_p": 0.85, "top_k": 33, "min_p": 0.07, "repetition_penalty": 1.15}
    change(run, context_length=4242, sampling=sampling, sampling_order="penalties;min_p", gguf_package="9.8.7")
    cards = plan_gguf_release(run, "demo", "alice/demo", LICENCE)
    for card in (cards["README.md"].decode(), cards["README_zh.md"].decode()):
        for shown in (
            "4,242",
            "0.35",
            "0.85",
            "33",
            "0.07",
            "1.15",
            "`penalties;min_p`",
            "`9.8.7`",
            "`<\\|im_end\\|>`",
        ):
            assert shown in card
        for entry in export_record(run)["files"].values():
            assert f"| {entry['bytes']:,} |" in card and entry["sha256"] in card
    bodies = [
        re.sub(r"\A---\n.*?\n---\n", "", cards[file].decode(), flags=re.DOTALL)
        for file in ("README.md", "README_zh.md")
    ]
    english, chinese = (sorted(re.findall(r"`[^`\n]+`|\d[\d,.]*\d", body)) for body in bodies)
    assert english == chinese
    assert "\n\n\n" not in bodies[0] + bodies[1]


@pytest.mark.parametrize("lost", ["top_k", "min_p", "repetition_penalty"])
def test_an_export_of_before_all_of_sampling_was_in_the_file_is_refused(run, lost):
    sampling = export_record(run)["sampling"]
    del sampling[lost]
    change(run, sampling=sampling)
    with pytest.raises(UserError, match=rf"sampling has no {lost}\. Export again"):
        plan_gguf_release(run, "demo", "alice/demo", LICENCE)


def test_what_is_off_is_called_off(run):
    sampling = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    change(run, sampling=sampling)
    cards = plan_gguf_release(run, "demo", "alice/demo", LICENCE)
    assert [cards["README.md"].decode().count(f"| {name} | off |") for name in ("Top-k", "Min-p")] == [1, 1]
    assert "(greedy" in cards["README.md"].decode() and "（贪心" in cards["README_zh.md"].decode()
    assert "top-k 40" not in cards["README.md"].decode()


def test_usage_shows_what_the_files_allow(run, monkeypatch):
    from model_card import gguf_release

    monkeypatch.setattr(
        gguf_release, "snippets", lambda release: {key: f"[{key}]" for key in ("llama_cpp", "ollama", "vllm")}
    )
    both = plan_gguf_release(run, "demo", "alice/demo", LICENCE)["README.md"].decode()
    assert "### llama.cpp" in both and "### Ollama" in both and "vllm" not in both
    change(run, ollama=None, ollama_reason="the model's chat template is <b>odd</b>")
    files = plan_gguf_release(run, "demo", "alice/demo", LICENCE)
    card = files["README.md"].decode()
    assert "There are no files for Ollama here: the model's chat template is &lt;b&gt;odd&lt;/b&gt;." in card
    assert "ollama run" not in card and not {"template", "params", "Modelfile"} & set(files)


def test_hostile_stop_tokens_stay_in_their_cell(run):
    change(run, stops=[{"id": 2, "text": "<|x|> `|` </td>\n# heading"}])
    for file in ("README.md", "README_zh.md"):
        card = plan_gguf_release(run, "demo", "alice/demo", LICENCE)[file].decode()
        assert "``<\\|x\\|> `\\|` </td> # heading``" in card and "\n# heading" not in card


def test_an_export_of_other_weights_or_a_changed_file_is_refused(run):
    run.training["model_sha256"]["model.safetensors"] = "00" * 32
    with pytest.raises(UserError, match="exported from other weights"):
        plan_gguf_release(run, "demo", "alice/demo", LICENCE)
    run.training["model_sha256"] = {}
    with (run.folder / "gguf" / "demo-q8_0.gguf").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match=r"demo-q8_0\.gguf has changed since"):
        plan_gguf_release(run, "demo", "alice/demo", LICENCE)
    (run.folder / "gguf" / "demo-q8_0.gguf").unlink()
    with pytest.raises(UserError, match="but not there"):
        plan_gguf_release(run, "demo", "alice/demo", LICENCE)


@pytest.mark.parametrize(
    "lost", ["name", "source", "files", "stops", "sampling", "sampling_order", "ollama", "special_tokens"]
)
def test_an_export_record_of_another_form_is_refused_with_the_command_that_mends_it(run, lost):
    record = export_record(run)
    del record["schema_version"], record[lost]
    write_json(run.folder / "gguf" / "export.json", record)
    with pytest.raises(
        UserError, match=rf"export\.json has no {lost}\. Export again: python -m inference\.export_gguf"
    ):
        plan_gguf_release(run, "demo", "alice/demo", LICENCE)
    change(run, **{lost: 3})
    with pytest.raises(UserError, match=rf"export\.json\.{lost} is .*Export again"):
        plan_gguf_release(run, "demo", "alice/demo", LICENCE)


def test_llama3_asks_for_a_name_inside_the_files_too(run):
    licence = Licence("llama3", {"LICENSE": b"", "USE_POLICY.md": b""}, "Built with Meta Llama 3")
    with pytest.raises(UserError, match="--name Llama-3-"):
        plan_gguf_release(run, "Llama-3-demo", "alice/Llama-3-demo", licence)
    change(run, name="Llama-3-demo")
    files = plan_gguf_release(run, "Llama-3-demo", "alice/Llama-3-demo", licence)
    assert "USE_POLICY.md" in files and "**Built with Meta Llama 3**" in files["README_zh.md"].decode()
