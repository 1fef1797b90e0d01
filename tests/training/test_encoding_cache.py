"""The cache of token ids: a hit is equal and encodes nothing, every part of the key counts, damage is ignored."""

import copy
import os
import random
from pathlib import Path

import pytest

from training import encoding_cache
from training.encoding import encode_pairs
from training.encoding_cache import cache_folder, cached_encoding, encoding_key
from training.preferences import Pair, Preferences, fingerprint
from training.system_prompt import set_system_prompt


def make_data(count=30, where="pairs.jsonl"):
    rng = random.Random(0)
    pairs = [
        Pair(
            ({"role": "user", "content": "问" * rng.randrange(1, 60)},),
            "答" * rng.randrange(1, 30),
            "b",
            f"{where}:{i}",
        )
        for i in range(count)
    ]
    return Preferences(pairs, [], {}, fingerprint(pairs))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "orpo-token-ids"


@pytest.fixture
def no_encoding(monkeypatch):
    """Whoever encodes after this is not using the cache."""

    def forbid():
        monkeypatch.setattr(encoding_cache, "encode_pairs", lambda *_: pytest.fail("encoded, though kept"))

    return forbid


def test_a_hit_is_equal_and_encodes_nothing(tiny_tokenizer, folder, no_encoding):
    data = make_data()
    first, words = cached_encoding(data, tiny_tokenizer, 120)
    assert first == encode_pairs(data.pairs, tiny_tokenizer, 120)
    assert (
        first.left_out and first.cut["responses"] and first.lost_tokens and 0 < len(first.pairs) < 30
    )  # all of the account has content
    (file,) = folder.glob("*.safetensors")
    assert words == f"kept in {file}"
    no_encoding()
    second, words = cached_encoding(data, tiny_tokenizer, 120)
    assert second == first
    assert words == f"from {file}"
    assert all(type(i) is int for pair in second.pairs for i in pair.prompt)


def test_a_hit_names_the_places_of_its_own_data(tiny_tokenizer, capsys):
    """The same texts from another file: the key is theirs, the lines named are the other file's."""
    from training.preparation import encode

    encode(make_data(where="first.jsonl"), tiny_tokenizer, 120)
    encode(make_data(where="second.jsonl"), tiny_tokenizer, 120)
    assert "second.jsonl:" in capsys.readouterr().err.partition("s, from ")[2]


def test_ids_above_16_bits_survive(tiny_tokenizer, folder):
    from tokenizers import AddedToken

    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_tokens([AddedToken(f"词{i:06}") for i in range(70_000)])
    pairs = [Pair(({"role": "user", "content": "词069999"},), "词000001", "a", "x:1")]
    data = Preferences(pairs, [], {}, fingerprint(pairs))
    first, _ = cached_encoding(data, tokenizer, 100)
    assert max(first.pairs[0].prompt) > 2**16
    assert cached_encoding(data, tokenizer, 100)[0] == first
    assert len(list(folder.glob("*.safetensors"))) == 1


def test_every_part_of_the_key_changes_it(tiny_tokenizer, monkeypatch):
    from tokenizers import AddedToken, normalizers

    def key(data="a", max_length=512, change=lambda tokenizer: None):
        tokenizer = copy.deepcopy(tiny_tokenizer)
        change(tokenizer)
        return encoding_key(data, tokenizer, max_length)

    plain = key()
    assert key() == plain
    assert key(change=lambda t: t("a", padding="max_length", max_length=9, truncation=True)) == plain
    keys = [
        plain,
        key(data="b"),
        key(max_length=513),
        key(change=lambda t: t.add_tokens([AddedToken("新", special=False)])),
        key(change=lambda t: setattr(t.backend_tokenizer, "normalizer", normalizers.NFKC())),
        key(change=lambda t: setattr(t, "chat_template", t.chat_template + " ")),
        key(change=lambda t: setattr(t, "bos_token", "<|endoftext|>")),
        key(change=lambda t: set_system_prompt(t, "S")),
        key(change=lambda t: set_system_prompt(t, "T")),
    ]
    monkeypatch.setattr(encoding_cache, "ENCODING_VERSION", 4)
    keys.append(key())
    monkeypatch.setattr(encoding_cache, "version", lambda name: "0")
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_a_template_that_reads_the_clock_is_good_for_a_day(tiny_tokenizer, monkeypatch):
    import datetime
    import types

    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = "{{ strftime_now('%d %b') }}" + tokenizer.chat_template
    plain, timed = (encoding_key("a", t, 512) for t in (tiny_tokenizer, tokenizer))
    later = types.SimpleNamespace(date=types.SimpleNamespace(today=lambda: datetime.date(2001, 1, 1)))
    monkeypatch.setattr(encoding_cache, "datetime", later)
    assert encoding_key("a", tokenizer, 512) != timed
    assert encoding_key("a", tiny_tokenizer, 512) == plain


@pytest.mark.parametrize("damage", ["torn", "empty", "one byte", "foreign", "renamed", "text"])
def test_damage_is_ignored_and_written_anew(tiny_tokenizer, folder, no_encoding, damage):
    from safetensors.numpy import save_file

    data = make_data()
    first, _ = cached_encoding(data, tiny_tokenizer, 120)
    (file,) = folder.glob("*.safetensors")
    whole = file.read_bytes()
    if damage == "renamed":  # another encoding under this name
        cached_encoding(data, tiny_tokenizer, 90)
        (other,) = set(folder.glob("*.safetensors")) - {file}
        other.rename(file)
    elif damage == "foreign":
        save_file({"tokens": encoding_cache.np.zeros(3)}, file)
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        file.write_bytes({"torn": whole[:-5], "empty": b"", "one byte": flipped}.get(damage, b"some text"))
    again, words = cached_encoding(data, tiny_tokenizer, 120)
    assert again == first
    assert words.startswith("kept in")
    assert file.stat().st_size == len(whole)
    no_encoding()
    assert cached_encoding(data, tiny_tokenizer, 120)[0] == first


@pytest.mark.parametrize("trouble", ["full", "no folder"])
def test_a_cache_that_cannot_be_written_fails_nothing(tiny_tokenizer, folder, monkeypatch, trouble):
    """As root no folder is read-only, so a file stands where the folder would be."""

    def full(*_):
        raise OSError(28, "No space left on device")

    if trouble == "full":
        monkeypatch.setattr(os, "fsync", full)
    else:
        folder.parent.mkdir()
        folder.write_text("a file in the way")
    data = make_data()
    encoding, words = cached_encoding(data, tiny_tokenizer, 120)
    assert encoding == encode_pairs(data.pairs, tiny_tokenizer, 120)
    assert words.startswith("not kept: ") and "\n" not in words
    assert trouble != "full" or [file.suffix for file in folder.iterdir()] == [".lock"]


def test_the_least_lately_used_go_first(tiny_tokenizer, folder, monkeypatch):
    monkeypatch.setattr(encoding_cache, "KEPT", 3)
    data = make_data(3)
    for age, max_length in enumerate([100, 101, 102]):
        _, words = cached_encoding(data, tiny_tokenizer, max_length)
        os.utime(words.removeprefix("kept in "), (age, age))
    oldest, second = (
        folder / f"{encoding_key(data.sha256, tiny_tokenizer, max_length)[:16]}.safetensors"
        for max_length in (100, 101)
    )
    cached_encoding(data, tiny_tokenizer, 100)  # used again: now the newest
    (folder / "notes.txt").touch()
    cached_encoding(data, tiny_tokenizer, 103)
    assert oldest.exists() and not second.exists() and (folder / "notes.txt").exists()
    assert sorted(file.suffix for file in folder.iterdir()) == [".lock"] * 3 + [".safetensors"] * 3 + [".txt"]


def test_of_several_that_want_the_same_one_encodes(tiny_tokenizer, monkeypatch):
    """As under DDP. Locks of separately opened files hold between threads as they do between processes."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    calls = []

    def slow(*words):
        calls.append(words)
        time.sleep(0.2)
        return encode_pairs(*words)

    monkeypatch.setattr(encoding_cache, "encode_pairs", slow)
    data = make_data()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: cached_encoding(data, copy.deepcopy(tiny_tokenizer), 120), range(4)))
    assert len(calls) == 1
    assert all(encoding == found[0][0] for encoding, _ in found)
    assert sorted(words.partition(" ")[0] for _, words in found) == ["from", "from", "from", "kept"]


def test_the_place_is_the_hubs(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_DATASETS_CACHE")
    assert cache_folder() == Path(constants.HF_HOME) / "datasets" / "orpo-token-ids"


def test_a_tokenizer_without_a_fingerprint_is_encoded_each_time(tiny_tokenizer, folder, monkeypatch):
    """One that is not made of `tokenizers`: its ids come by its own call, and nothing is kept."""

    class Other:
        """As a tokenizer in Python: all of it but the backend."""

        def __getattr__(self, name):
            if name == "backend_tokenizer":
                raise AttributeError(name)
            return getattr(tiny_tokenizer, name)

        def __call__(self, *words, **options):
            return tiny_tokenizer(*words, **options)

        def __len__(self):
            return len(tiny_tokenizer)

    data = make_data()
    encoding, words = cached_encoding(data, Other(), 120)
    assert encoding == encode_pairs(data.pairs, tiny_tokenizer, 120)
    assert words.startswith("not kept: ") and not folder.exists()


def test_a_cache_that_cannot_be_written_costs_time_alone(tiny_tokenizer, monkeypatch):
    from safetensors import SafetensorError, numpy

    def fail(*_):
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(numpy, "save_file", fail)
    encoding, words = cached_encoding(make_data(), tiny_tokenizer, 120)
    assert len(encoding.pairs) > 0 and words.startswith("not kept: I/O error")
