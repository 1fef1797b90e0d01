"""The benchmark of preparation runs TRL's real class on the same rows and keeps a whole record."""

from benchmarks import preparation
from run_folder import read_json


def test_both_sides_do_the_same_work_and_the_record_is_whole(tiny_model_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "preparation.json"
    words = ["--model", str(tiny_model_folder), "--rows", "500", "--max-length", "400", "--repeats", "1"]
    assert preparation.main([*words, "--results", str(out)]) == 0
    record = read_json(out)
    assert record["rows"] == 500  # more than the demo has: its first 48 once more
    assert record["prompts"] == {"same": 500, "n": 500}
    ways = {"trl", "ours", "ours_and_kept", "ours_from_cache"}
    assert set(record["seconds"]) == set(record["cpu_seconds"]) == ways
    assert all(len(times) == 1 and times[0] > 0 for times in record["seconds"].values())
    assert record["data"][0]["file"] == "demo_pairs.jsonl"
    assert record["times_the_peer_in_cpu_seconds"]["ours"]["median"] > 1
    assert "500 of 500 prompts" in capsys.readouterr().out


def test_a_ratio_is_taken_within_a_round():
    """Rounds of 4 against 2 and 9 against 3 seconds: 2 and 3 times, not 13 against 5."""
    rounds = [{"trl": (4.0, 8.0), "ours": (2.0, 2.0)}, {"trl": (9.0, 9.0), "ours": (3.0, 3.0)}]
    assert preparation.compared(rounds, "ours", 0) == {"median": 2.5, "low": 2.0, "high": 3.0}
    assert preparation.compared(rounds, "ours", 1) == {"median": 3.5, "low": 3.0, "high": 4.0}
