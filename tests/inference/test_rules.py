"""What a model's files say is what every front end keeps; what cannot be meant is refused with file, key and value."""

import copy
import inspect
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from gguf import GGUFWriter

from command import UserError
from inference import export_gguf
from inference.loading import load_tokenizer, resolve
from inference.rules import (
    GREEDY,
    NOT_FOLLOWED,
    NOT_FOLLOWED_SAMPLING,
    Sampling,
    context_of,
    read_generation,
    read_rules,
    sampling_of,
    stop_token_ids,
    turn_terminator,
)
from tests.inference.gguf_models import make_llama3

ROOT = Path(__file__).parents[2]
SAMPLED = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 0}


def write(path: Path, record: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record if isinstance(record, str) else json.dumps(record), encoding="utf-8")
    return path


def model_folder(folder: Path, generation: object = None, config: object = None) -> Path:
    """A folder that `resolve` takes, with these files."""
    write(folder / "model.safetensors", "\x02" + "\0" * 7 + "{}")  # whole, without a tensor
    write(folder / "config.json", {} if config is None else config)
    if generation is not None:
        write(folder / "generation_config.json", generation)
    return folder


def generation_of(folder: Path) -> dict:
    return read_generation(resolve(str(folder)))[0]


# --- sampling


@pytest.mark.parametrize(
    ("generation", "sampling", "told"),
    [
        ({}, GREEDY, "greedy"),
        ({"temperature": 0.6, "top_p": 0.9}, GREEDY, "greedy"),  # left over: do_sample is not there
        ({"do_sample": False, "repetition_penalty": 1.1}, Sampling(repetition_penalty=1.1), "greedy"),
        (SAMPLED, Sampling(0.6, 0.9), "temperature 0.6, top_p 0.9"),
        ({"do_sample": True}, Sampling(1.0, top_k=50), "temperature 1, top_k 50"),
        ({"do_sample": True, "temperature": None, "top_k": None}, Sampling(1.0, top_k=50), "temperature 1, top_k 50"),
        ({**SAMPLED, "top_k": 20.0, "min_p": 0.05}, Sampling(0.6, 0.9, 20, 0.05), "min_p 0.05"),
        ({**SAMPLED, "typical_p": 1.0, "num_beams": 1, "max_length": 20, "bad_words_ids": []}, Sampling(0.6, 0.9), ""),
    ],
)
def test_sampling_is_what_plain_transformers_does(generation, sampling, told):
    assert sampling_of(generation) == sampling
    assert told in sampling.told()


def test_a_penalty_is_told_of_greedy_decoding_too():
    assert GREEDY.told() == "greedy"
    assert Sampling(top_p=0.9, repetition_penalty=1.2).told() == "greedy, repetition_penalty 1.2"


@pytest.mark.parametrize("generation", [{"do_sample": True}, SAMPLED, {**SAMPLED, "min_p": 0.1, "top_k": 7}])
def test_transformers_itself_agrees(tiny, generation):
    """Its own defaults for what a file leaves open, asked of the installed version."""
    from transformers import GenerationConfig

    model = copy.copy(tiny[0])
    model.generation_config = GenerationConfig(**generation)
    filled, _ = model._prepare_generation_config(None)
    ours = sampling_of(generation)
    assert (filled.temperature, filled.top_p, filled.top_k) == (ours.temperature, ours.top_p, ours.top_k)
    assert (filled.min_p or 0.0, filled.repetition_penalty) == (ours.min_p, ours.repetition_penalty)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("do_sample", "false", "do_sample 'false' must be true or false"),
        ("do_sample", 1, "do_sample 1 must be true or false"),
        ("temperature", -1, "temperature -1 must be 0 (greedy) to 100"),
        ("temperature", "hot", "temperature 'hot' must be a number"),
        ("temperature", True, "temperature True must be a number"),
        ("temperature", [0.6], "temperature [0.6] must be a number"),
        ("top_p", 0, "top_p 0 must be above 0"),
        ("top_p", 90, "top_p 90 must be above 0 and at most 1"),
        ("top_k", -1, "top_k -1 must be 0"),
        ("top_k", 2.5, "top_k 2.5 must be a whole number"),
        ("min_p", 2, "min_p 2 must be between 0 and 1"),
        ("repetition_penalty", 0, "repetition_penalty 0 must be above 0"),
        *((key, 3 if off != 3 else 4, f"{key} 3 is a way to choose tokens") for key, off in NOT_FOLLOWED.items()),
        *((key, 0.3, f"{key} 0.3 is a way to choose tokens") for key in NOT_FOLLOWED_SAMPLING),
    ],
)
def test_a_value_that_cannot_be_kept_names_file_key_and_value(tmp_path, key, value, said):
    folder = model_folder(tmp_path / "m", {**SAMPLED, key: value})
    with pytest.raises(UserError) as error:
        generation_of(folder)
    assert str(error.value).startswith(f"{folder / 'generation_config.json'}: {said}")
    assert "Correct it there." in str(error.value)


def test_every_processor_of_transformers_is_followed_or_refused(tiny):
    """What its list of logits processors asks of a generation_config; a new one in a new version shows here."""
    asked = re.findall(r"generation_config\.(\w+)", inspect.getsource(type(tiny[0])._get_logits_processor))
    followed = {field.name for field in fields(Sampling)} | {"do_sample"}
    no_choice = {"_eos_token_tensor", "max_length", "use_cache", "remove_invalid_values", "renormalize_logits"}
    assert len(asked) > 20 and not {*asked} - followed - no_choice - {*NOT_FOLLOWED} - {*NOT_FOLLOWED_SAMPLING}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_no_number_is_no_number(tmp_path, value):
    folder = model_folder(tmp_path / "m", f'{{"do_sample": true, "temperature": {value}}}')
    with pytest.raises(UserError, match=r"temperature -?(nan|inf) must be a number"):
        generation_of(folder)


def test_what_only_sampling_asks_for_is_nothing_to_a_greedy_model():
    assert sampling_of({"do_sample": False, "typical_p": 0.3, "top_h": 0.4}) == GREEDY


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "null", "\x00"])
@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
def test_a_broken_file_is_named(tmp_path, name, text):
    folder = model_folder(tmp_path / "m", {})
    write(folder / name, text)
    with pytest.raises(UserError, match=rf"{name} is not (valid JSON|a JSON object)"):
        generation_of(folder)


# --- where it is read


def test_a_folder_without_a_generation_config_is_greedy_and_may_have_no_context(tmp_path):
    assert read_generation(resolve(str(model_folder(tmp_path / "m")))) == ({}, {})


def test_an_adapter_has_its_own_sampling_or_its_bases(tmp_path):
    base = model_folder(tmp_path / "base", SAMPLED, {"max_position_embeddings": 99})
    adapter = tmp_path / "adapter"
    write(adapter / "adapter_model.safetensors", "\x02" + "\0" * 7 + "{}")
    write(adapter / "adapter_config.json", {"base_model_name_or_path": str(base)})
    assert read_generation(resolve(str(adapter))) == (SAMPLED, {"max_position_embeddings": 99})
    write(adapter / "generation_config.json", {"eos_token_id": 7})
    assert read_generation(resolve(str(adapter))) == ({"eos_token_id": 7}, {"max_position_embeddings": 99})
    write(base / "generation_config.json", {"temperature": -1, "do_sample": True})
    with pytest.raises(UserError, match=r"base/generation_config\.json: temperature -1"):
        read_generation(resolve(str(adapter)))


def test_a_hub_id_is_read_where_it_was_downloaded(tmp_path, monkeypatch):
    from inference import rules

    folder = model_folder(tmp_path / "snapshot", SAMPLED)
    monkeypatch.setattr(rules, "fetch", lambda source: folder if source.kind == "hub" else None)
    assert read_generation(resolve("org/name@v1"))[0] == SAMPLED


def test_a_gguf_file_says_what_its_model_says(tmp_path):
    folder = make_llama3(tmp_path / "m")
    ours = {**SAMPLED, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1, "eos_token_id": [314, 317]}
    write(folder / "generation_config.json", ours)
    export_gguf.main([str(folder), "--output", str(tmp_path / "out"), "--types", "f16", "--name", "m"])
    file = resolve(str(tmp_path / "out" / "m-f16.gguf"))
    of_folder, of_file = (read_rules(source, load_tokenizer(source)) for source in (resolve(str(folder)), file))
    assert of_file == of_folder
    assert of_folder.sampling == Sampling(0.6, 0.9, 40, 0.05, 1.1) and of_folder.context == 512
    assert set(of_folder.stop_texts) == {"<|end_of_text|>", "<|eot_id|>"}


@pytest.mark.parametrize(
    ("keys", "sampling"),
    [
        ({}, GREEDY),
        ({"temp": 0.6, "top_p": 0.9}, Sampling(0.6, 0.9, 50)),  # as our exporter wrote before it wrote all
        ({"top_k": 20}, Sampling(1.0, top_k=20)),  # do_sample with transformers' temperature
        ({"temp": 0.0, "top_k": 20}, GREEDY),
        ({"penalty_repeat": 1.1}, Sampling(repetition_penalty=1.1)),
    ],
)
def test_what_a_gguf_of_another_maker_leaves_open_is_transformers(tmp_path, keys, sampling):
    path = gguf_file(tmp_path / "m.gguf", keys)
    generation, config = read_generation(resolve(str(path)))
    assert sampling_of(generation) == sampling and context_of(config) is None
    gguf_file(path, keys | {"top_p": 7.0, "temp": 1.0})
    with pytest.raises(UserError, match=r"m\.gguf, general\.sampling: top_p 7 must be"):
        read_generation(resolve(str(path)))


def gguf_file(path: Path, sampling: dict) -> Path:
    """A GGUF file without a tensor that says this of sampling."""
    writer = GGUFWriter(path, "llama")
    for name, value in sampling.items():
        (writer.add_int32 if isinstance(value, int) else writer.add_float32)(f"general.sampling.{name}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_folders_rules_are_read_without_transformers_or_torch(tmp_path):
    folder = model_folder(tmp_path / "m", SAMPLED)
    code = (
        "import sys; from inference.loading import resolve; from inference.rules import read_generation, sampling_of;"
        "print(sampling_of(read_generation(resolve(sys.argv[1]))[0]).told(), {'torch', 'transformers'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "temperature 0.6, top_p 0.9 set()\n"


# --- context


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({}, None),
        ({"max_position_embeddings": None}, None),
        ({"max_position_embeddings": 8192}, 8192),
        (
            {"max_position_embeddings": 131072,
             "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}},
            131072,
        ),
        (
            {"max_position_embeddings": 32768,
             "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}},
            131072,
        ),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4.0}}, 4096),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, 4096),
    ],
)  # fmt: skip
def test_context(config, context):
    assert context_of(config) == context


@pytest.mark.parametrize("length", [0, -5, "8192", 1.5, True])
def test_a_context_that_is_no_length_is_refused(tmp_path, length):
    folder = model_folder(tmp_path / "m", {}, {"max_position_embeddings": length})
    with pytest.raises(UserError, match=r"config\.json: max_position_embeddings .* must be"):
        generation_of(folder)


@pytest.mark.parametrize("name", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("rope", ["linear", [8], 8.0, True])
def test_a_rope_that_is_no_object_is_refused(tmp_path, name, rope):
    folder = model_folder(tmp_path / "m", {}, {"max_position_embeddings": 512, name: rope})
    with pytest.raises(UserError, match=rf"config\.json: {name} .* must be an object\. Correct it there\."):
        generation_of(folder)


# --- stops


def test_stops_are_those_of_every_place(tiny):
    tokenizer = tiny[1]
    assert stop_token_ids({"eos_token_id": [0, 5]}, {"eos_token_id": 7}, tokenizer) == [0, 2, 5, 7]
    assert stop_token_ids({"eos_token_id": None}, {}, tokenizer) == [2]


@pytest.mark.parametrize("ids", [99999, -1, [2, 99999], "2", [None], True, 2.0])
def test_a_stop_that_is_no_token_is_refused(tiny, ids):
    for generation, config in (({"eos_token_id": ids}, {}), ({}, {"eos_token_id": ids})):
        with pytest.raises(UserError, match=r"eos_token_id .* is no token of the vocabulary .* Correct it in"):
            stop_token_ids(generation, config, tiny[1])


def with_template(tokenizer, template):
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed


@pytest.mark.parametrize(
    ("template", "terminator"),
    [
        (None, None),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", None),
        ("{% for m in messages %}{{ m.content }}\n <|im_end|>\n{% endfor %}", 2),
        ("{% for m in messages %}{{ m.content }}.<|im_end|>{% endfor %}", None),
        ("<|im_start|>{% for m in messages %}{{ m.content | upper }}<|im_end|>{% endfor %}", None),
        ("{% for m in messages %}{{ m.content }}<|endoftext|>{% endfor %}", 0),
    ],
)
def test_the_turn_terminator_is_what_follows_an_answer(tiny, template, terminator):
    assert turn_terminator(with_template(tiny[1], template)) == terminator


def test_a_template_that_refuses_an_answer_says_so(tiny):
    with pytest.raises(UserError, match="refuses a question with an answer: no answers"):
        turn_terminator(with_template(tiny[1], "{{ raise_exception('no answers') }}"))


def test_of_several_named_templates_the_default_one_counts(tiny_folder, tiny):
    named = with_template(tiny[1], {"default": tiny[1].chat_template, "tool_use": "x"})
    source = resolve(str(tiny_folder))
    assert read_rules(source, named) == read_rules(source, tiny[1])
    assert read_rules(source, with_template(tiny[1], None)).template is None
