"""What is said while bytes move, and that the counts are right for LFS, Xet and what the Hub has already."""

import io
import signal
import time
from types import SimpleNamespace

import pytest

from publishing.progress import (
    CountingFile,
    Meter,
    clock,
    measured_operation,
    progress_line,
    stops_not_within,
    xet_progress,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bytes_rate_and_time_left():
    assert progress_line("all", 10**9, 5 * 10**9, 20) == "all: 1.0 GB of 5.0 GB, 50.0 MB/s, 1:20 left"
    assert progress_line("all", 0, 5 * 10**9, 20) == "all: 0.0 MB of 5.0 GB"
    assert (clock(59.6), clock(3661)) == ("1:00", "1:01:01")


def test_plain_lines_where_there_is_no_terminal():
    stream, now = io.StringIO(), [0.0]
    counts = Meter({"a": 10_000_000, "b": 30_000_000}, stream, lambda: now[0])
    counts.begin("a")
    now[0] = 10
    counts.moved(5_000_000)  # too soon after the last line
    now[0] = 40
    counts.moved(8_000_000)
    counts.end()
    counts.begin("b")
    counts.end()
    assert stream.getvalue().splitlines() == [
        "  a: 8.0 MB of 10.0 MB; all: 8.0 MB of 40.0 MB, 0.2 MB/s, 2:40 left",
        "  sent: a; all: 10.0 MB of 40.0 MB, 0.2 MB/s, 2:00 left",
        "  on the Hub already: b; all: 40.0 MB of 40.0 MB, 1.0 MB/s, 0:00 left",
    ]


def test_a_live_line_on_a_terminal():
    stream, now = Terminal(), [0.0]
    counts = Meter({"a": 10_000_000, "b": 30_000_000}, stream, lambda: now[0])
    counts.begin("a")
    now[0] = 2
    counts.moved(5_000_000)
    assert stream.getvalue() == "\x1b[2Ka: 5.0 MB of 10.0 MB; all: 5.0 MB of 40.0 MB, 2.5 MB/s, 0:14 left\r"


def test_a_file_is_counted_as_lfs_reads_it_and_back_when_it_is_sent_again(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(1000))
    counts = Meter({"a": 1000}, io.StringIO())
    operation = measured_operation("a", path, "ab" * 32, counts)
    assert operation.upload_info.sha256.hex() == "ab" * 32, "not hashed again"
    with operation.as_file(with_tqdm=True) as stream:
        assert isinstance(stream, CountingFile) and len(stream.read(600)) == 600 and counts.done == 600
        stream.seek(0)
        stream.read(10)
        assert counts.done == 10
    with operation.as_file() as stream:
        assert not isinstance(stream, CountingFile), "reading a small file into a commit is no sending"


def test_xet_reports_to_the_meter():
    from huggingface_hub.utils import _xet_progress_reporting as reporting

    counts, theirs = Meter({"a": 1000}, io.StringIO()), reporting.XetUploadProgressReporter
    with xet_progress(counts):
        reporter = reporting.XetUploadProgressReporter()
        reporter.update_progress(SimpleNamespace(total_transfer_bytes_completed=7, total_bytes_completed=700), {})
        assert counts.done == 700
        reporter.update_progress(SimpleNamespace(total_transfer_bytes_completed=0, total_bytes_completed=700), {})
        assert counts.done == 0, "nothing travelled: the Hub had it"
        reporter.close()
    assert reporting.XetUploadProgressReporter is theirs


def test_a_stop_within_the_callback_of_xet_comes_after_it():
    """hf_xet prints what a callback raises and goes on: Ctrl-C would be lost."""
    done, before = [], signal.signal(signal.SIGINT, signal.default_int_handler)

    def callback():
        signal.raise_signal(signal.SIGINT)
        done.append("callback")

    with pytest.raises(KeyboardInterrupt), stops_not_within(callback.__code__):
        callback()
        time.sleep(5)
        done.append("not reached")
    assert done == ["callback"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)
