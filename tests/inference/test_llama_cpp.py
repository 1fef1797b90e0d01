"""llama.cpp answers by our rules: stops, sampling, seeds, cancelling; tiny exported models, and files that are broken."""

import errno
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from command import UserError, WorkError
from inference import export_gguf
from inference.answers import CUT
from inference.gguf.check import check_gguf
from inference.llama_cpp import engine as llama_cpp
from inference.llama_cpp import process
from inference.llama_cpp.engine import LlamaCppEngine
from inference.llama_cpp.process import LlamaCppProcess
from inference.loading import load_model, load_tokenizer, resolve
from inference.rules import Sampling
from tests.inference.conftest import CHATS, ROOT, reference
from tests.inference.gguf_models import make_llama3

pytestmark = pytest.mark.skipif(not llama_cpp.available(), reason="llama.cpp is not installed: pip install xllamacpp")
WARM = Sampling(temperature=0.8, top_p=0.9, top_k=30)
TALLY = 800  # draws of the distribution test


def exported(folder, output) -> Path:
    export_gguf.main([str(folder), "--output", str(output), "--types", "f16", "--name", "m"])
    return output / "m-f16.gguf"


@pytest.fixture(scope="module")
def file(tiny_folder, tmp_path_factory) -> Path:
    return exported(tiny_folder, tmp_path_factory.mktemp("gguf"))


@pytest.fixture(scope="module")
def opened(file):
    return LlamaCppEngine(resolve(str(file)))


@pytest.fixture
def engine(opened):
    """With room for all that is asked here, so that its process need not be started anew."""
    opened._serve(8, 512)
    return opened


@pytest.fixture(scope="module")
def peer(file):
    """transformers with the same weights."""
    source = resolve(str(file))
    return load_model(source), load_tokenizer(source)


def answers(engine, chats=CHATS, **options) -> dict[int, list[int]]:
    options = {"max_new_tokens": 12} | options
    return {answer.index: answer.token_ids for answer in engine.generate(chats, **options)}


def forced(engine, monkeypatch, token: int) -> None:
    """From now on the first token of an answer is this one."""
    plain = engine._request

    def request(prompt, made):
        return plain(prompt, made) if made else plain(prompt, made) | {"logit_bias": [[token, 1e4]]}

    monkeypatch.setattr(engine, "_request", request)


def test_greedy_answers_are_transformers_own(engine, peer):
    model, tokenizer = peer
    ours = answers(engine, batch_size=1)
    assert [ours[i] for i in range(4)] == [reference(model, tokenizer, chat, 12) for chat in CHATS[:4]]


def test_repetition_penalty_is_transformers_own(engine, peer):
    model, tokenizer = peer
    penalty = Sampling(repetition_penalty=1.5)
    inputs = tokenizer.apply_chat_template(CHATS[0], add_generation_prompt=True, return_tensors="pt", return_dict=True)
    length = inputs["input_ids"].shape[1]
    expected = model.generate(**inputs, max_new_tokens=12, do_sample=False, repetition_penalty=1.5)[0, length:].tolist()
    assert answers(engine, CHATS[:1], sampling=penalty)[0] == expected
    assert answers(engine, CHATS[:1])[0] != expected


def test_draws_are_those_of_transformers_warpers(engine, peer):
    """Chi squared of first tokens against temperature, then top-k, top-p and min-p, as transformers computes them."""
    from transformers import GenerationConfig

    model, tokenizer = peer
    sampling = Sampling(temperature=3.0, top_p=0.8, top_k=12, min_p=0.2)
    inputs = tokenizer.apply_chat_template(CHATS[1], add_generation_prompt=True, return_tensors="pt", return_dict=True)
    config = GenerationConfig(do_sample=True, temperature=3.0, top_p=0.8, top_k=12, min_p=0.2)
    warp = model._get_logits_processor(config, inputs["input_ids"].shape[1], prefix_allowed_tokens_fn=None)
    with torch.no_grad():
        logits = model(**inputs).logits[:, -1].float()
    expected = warp(inputs["input_ids"], logits).softmax(1)[0]
    drawn = answers(engine, [CHATS[1]] * TALLY, max_new_tokens=1, sampling=sampling, batch_size=8)
    seen = Counter(ids[0] if ids else 2 for ids in drawn.values())
    kept = expected.nonzero()[:, 0].tolist()
    assert len(kept) > 3 and set(seen) == set(kept)
    chi = sum((seen[token] - TALLY * expected[token].item()) ** 2 / (TALLY * expected[token].item()) for token in kept)
    assert chi < 2 * len(kept) + 20  # p < 0.001 for each size there is here


def test_top_k_of_one_is_greedy(engine):
    sampling = Sampling(temperature=1.0, top_k=1)
    assert answers(engine, CHATS[:3], sampling=sampling, batch_size=1) == answers(engine, CHATS[:3], batch_size=1)


def test_an_answer_repeats_with_its_seed_and_number(engine):
    first = answers(engine, sampling=WARM, seed=1, batch_size=1)
    assert answers(engine, sampling=WARM, seed=1, batch_size=1) == first
    assert answers(engine, sampling=WARM, seed=2, batch_size=1) != first
    assert answers(engine, sampling=WARM, seed=1, batch_size=1, only=[2, 5]) == {2: first[2], 5: first[5]}
    moved = answers(engine, [CHATS[5]], sampling=WARM, seed=1, streams=[5])
    assert moved == {0: first[5]}


def test_a_stream_is_the_answer_in_whole_characters(engine):
    for sampling in (llama_cpp.GREEDY, WARM):
        answer = next(engine.generate([CHATS[4]], max_new_tokens=40, sampling=sampling, seed=4))
        engine._process.stop()  # nothing remembered
        pieces = list(engine.stream(CHATS[4], max_new_tokens=40, sampling=sampling, seed=4))
        text = "".join(piece.text for piece in pieces)
        assert answer.text.startswith(text.rstrip(CUT)) and len(answer.text) - len(text) < 4
        assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
        assert pieces[-1].finish_reason == answer.finish_reason


def test_budgets_are_each_rows_own_and_fill_the_context_exactly(engine):
    budgets = [1, 2, 3, 4, 5, 6, 7, 8]
    got = list(engine.generate(CHATS, max_new_tokens=budgets, sampling=Sampling(temperature=3.0)))
    assert all(len(answer.token_ids) == budgets[answer.index] for answer in got if answer.finish_reason == "length")
    chat = [{"role": "user", "content": "qxz" * 140}]
    length = len(engine._prompt(0, chat, 1, WARM, "").token_ids)
    rest = engine.context - length
    assert 5 < rest < 100
    answer = next(engine.generate([chat], max_new_tokens=rest, sampling=Sampling(temperature=50.0), seed=3))
    assert len(answer.token_ids) == rest or answer.finish_reason == "stop"
    with pytest.raises(
        UserError, match=f"has {length} tokens and the answer may have {rest + 1}; the model's context is 512"
    ):
        next(engine.generate([chat], max_new_tokens=rest + 1))


def test_our_stop_ends_an_answer(engine, monkeypatch):
    forced(engine, monkeypatch, 2)
    answer = next(engine.generate(CHATS[:1], max_new_tokens=9))
    assert (answer.token_ids, answer.text, answer.finish_reason) == ([], "", "stop")
    assert [piece.finish_reason for piece in engine.stream(CHATS[0], max_new_tokens=9)] == ["stop"]


def test_a_stop_of_llama_cpp_that_is_not_ours_does_not(engine, monkeypatch):
    """<|endoftext|> ends an answer for llama.cpp, by its name; this model's files name <|im_end|> alone."""
    forced(engine, monkeypatch, 0)
    answer = next(engine.generate(CHATS[:1], max_new_tokens=9))
    assert answer.token_ids[0] == 0 and len(answer.token_ids) == 9 and answer.finish_reason == "length"
    pieces = list(engine.stream(CHATS[0], max_new_tokens=9))
    assert "".join(piece.text for piece in pieces) == answer.text and pieces[-1].finish_reason == "length"


def test_a_stop_that_llama_cpp_does_not_know_ends_an_answer_too(engine, monkeypatch):
    forced(engine, monkeypatch, 1)
    monkeypatch.setattr(engine, "stop_ids", frozenset({1}))
    answer = next(engine.generate(CHATS[:1], max_new_tokens=9))
    assert (answer.token_ids, answer.finish_reason) == ([], "stop")
    assert [piece.finish_reason for piece in engine.stream(CHATS[0], max_new_tokens=9)] == ["stop"]


def test_llama3s_two_stops(tmp_path):
    engine = LlamaCppEngine(resolve(str(exported(make_llama3(tmp_path / "model"), tmp_path / "out"))))
    source = resolve(str(tmp_path / "model"))
    model, tokenizer = load_model(source), load_tokenizer(source)
    assert sorted(engine.tokenizer.convert_ids_to_tokens(engine.stop_ids)) == ["<|end_of_text|>", "<|eot_id|>"]
    chat = [{"role": "user", "content": "the cat sat <|eot_id|>"}]
    ids = llama_cpp.encode_chat(engine.tokenizer, chat)
    assert ids.count(tokenizer.eos_token_id) == 1  # what was typed is text
    with torch.no_grad():
        first = model(torch.tensor([ids])).logits[0, -1].argmax().item()
    assert answers(engine, [chat], max_new_tokens=1)[0] == [first]


def test_a_closed_stream_ends_the_work(engine):
    slow = Sampling(temperature=3.0)
    stream = engine.stream(CHATS[6], max_new_tokens=450, sampling=slow)
    next(stream)
    stream.close()
    began = time.monotonic()
    answers(engine, CHATS[:1], max_new_tokens=1)
    assert time.monotonic() - began < 5
    batch = engine.generate(CHATS, max_new_tokens=[1, *[400] * 7], sampling=slow)
    next(batch)
    batch.close()
    assert not engine._process.alive
    assert answers(engine, CHATS[:1], max_new_tokens=1)  # a new one takes over


def test_ctrl_c_while_the_prompt_is_read_ends_the_work(engine, monkeypatch):
    engine._serve(1, 64)
    os.kill(engine._process._child.pid, signal.SIGSTOP)  # it will not answer
    me = threading.main_thread().ident
    threading.Timer(0.5, lambda: signal.pthread_kill(me, signal.SIGINT)).start()
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            next(engine.stream(CHATS[0], max_new_tokens=4))
    finally:
        signal.signal(signal.SIGINT, previous)
    assert not engine._process.alive
    assert answers(engine, CHATS[:1], max_new_tokens=1)


def test_a_process_that_died_is_one_sentence(engine):
    child = engine._process._child.pid
    os.kill(child, signal.SIGSTOP)  # else it might be through before it dies
    threading.Timer(0.2, os.kill, (child, signal.SIGKILL)).start()
    with pytest.raises(WorkError, match=r"llama\.cpp ended while it answered .*SIGKILL"):
        list(engine.stream(CHATS[0], max_new_tokens=4))


@pytest.fixture
def deadline():
    """What would hang fails after half a minute."""
    previous = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def test_what_fails_while_the_process_lives_is_told_at_once(engine, monkeypatch, deadline):
    def connect(connection):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(process, "ENDING", 0.1)
    monkeypatch.setattr(process._Connection, "connect", connect)
    with pytest.raises(WorkError, match=r"could not be asked \(.*Too many open files\)\. Lower --batch-size"):
        list(engine.stream(CHATS[0], max_new_tokens=4))
    assert engine._process.alive


def child_that(does: str, folder: Path, monkeypatch) -> None:
    """From now on the process is this Python, with `asked` as llama.cpp would have it."""
    (folder / "child.py").write_text(f"import json, os, sys, time\nasked = json.loads(sys.stdin.readline())\n{does}\n")
    monkeypatch.setattr(process, "CHILD", folder / "child.py")


def test_other_words_before_ready_are_no_matter(tmp_path, monkeypatch, deadline):
    child_that("print('a library says hello'); print('ready', flush=True); time.sleep(60)", tmp_path, monkeypatch)
    started = LlamaCppProcess(Path("m.gguf"), "m", 1, 256)
    assert started.alive
    started.stop()


def test_a_process_that_is_never_ready_is_ended(tmp_path, monkeypatch, deadline):
    monkeypatch.setattr(process, "ENDING", 0.1)
    child_that("print('hello', flush=True); os.close(1); time.sleep(60)", tmp_path, monkeypatch)
    with pytest.raises(WorkError, match="did not become ready"):
        LlamaCppProcess(Path("m.gguf"), "m", 1, 256)


def test_the_process_has_the_threads_of_the_environment(tmp_path, monkeypatch, deadline):
    child_that("sys.exit(f'{asked[\"threads\"]} threads')", tmp_path, monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with pytest.raises(WorkError, match="7 threads"):
        LlamaCppProcess(Path("m.gguf"), "m", 1, 256)


def test_more_at_a_time_than_llama_cpp_takes_are_made_in_turn(engine):
    """It has 256 sequences at most, whatever the memory."""
    count = llama_cpp.MOST_SLOTS + 1
    found = engine.generate([CHATS[0]] * count, max_new_tokens=1, batch_size=count)
    assert sorted(answer.index for answer in found) == list(range(count))
    assert engine._process.slots == llama_cpp.MOST_SLOTS


def test_nothing_listens_on_a_port_and_nothing_outlives_its_parent(file):
    code = (
        "import os, sys\nfrom inference.llama_cpp.process import LlamaCppProcess\nfrom pathlib import Path\n"
        f"p = LlamaCppProcess(Path({str(file)!r}), 'm', 1, 256)\n"
        "print(p._child.pid, flush=True)\nsys.stdin.read()\nos._exit(1)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    sockets = {str(entry.readlink()) for entry in Path(f"/proc/{child}/fd").iterdir()}
    inodes = {found.group(1) for found in (re.match(r"socket:\[(\d+)\]", name) for name in sockets) if found}
    listed = itertools.chain(*(Path(f"/proc/net/{name}").read_text().split("\n") for name in ("tcp", "tcp6")))
    assert inodes and not inodes.intersection(line.split()[9] for line in listed if len(line.split()) > 9)
    parent.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_cut_is_refused_in_one_sentence(file, tmp_path):
    whole, cut = file.read_bytes(), tmp_path / "cut.gguf"
    check_gguf(file)
    for length in [*range(64), *range(64, len(whole) - 32, 997), len(whole) - 33]:
        cut.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.gguf: .*(Copy, download or export the file again\.)"):
            check_gguf(cut)


def test_a_changed_header_is_refused_or_loads(file, tmp_path):
    whole, changed = bytearray(file.read_bytes()), tmp_path / "changed.gguf"
    for place in range(4, 6000, 61):
        changed.write_bytes(whole[:place] + bytes([whole[place] ^ 0x81]) + whole[place + 1 :])
        try:
            check_gguf(changed)
            load_tokenizer(resolve(str(changed)))
        except UserError as error:
            assert "changed" in str(error)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"blk.0.attn_q.weight", b"blk.0.attn_X.weight", "tensor 'blk.0.attn_q.weight' not found"),
        (b"llama", b"lamma", "unknown model architecture"),
    ],
)
def test_what_llama_cpp_refuses_is_told_in_its_words(file, tmp_path, old, new, told):
    changed = tmp_path / "m.gguf"
    changed.write_bytes(file.read_bytes().replace(old, new))
    with pytest.raises(UserError, match=f"MODEL m: llama.cpp cannot load it .*{told}"):
        LlamaCppProcess(changed, "m", 1, 256)


def test_too_little_memory_is_told(file):
    code = (
        "import resource\nfrom pathlib import Path\nfrom inference.llama_cpp.process import LlamaCppProcess\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        f"LlamaCppProcess(Path({str(file)!r}), 'm', 1, 1 << 26)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "WorkError: MODEL m: llama.cpp got no memory for it and 1 x 67108864 tokens" in done.stderr
