"""How every command here reads its options and ends: one clear message on stderr, the right exit status, no traceback for what a user can cause.

Exit status: 0 success, 1 the work failed (no disk space, out of memory, a check not passed), 2 bad usage or bad input,
130 stopped by Ctrl-C or SIGTERM. A bug still shows its traceback.
"""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any


class UserError(ValueError):
    """Bad input or bad usage. The message names the thing, the value and the fix. Exit status 2."""


class WorkError(RuntimeError):
    """The input was right and the work still failed; the message says what is kept and what to do. Exit status 1."""


class CommandParser(argparse.ArgumentParser):
    """argparse's, without abbreviations; it answers a flag that it does not know with the nearest that it does.

    Before all else, as argparse would first miss the flag that was mistyped, where that one is required.
    """

    def __init__(self, **settings: Any):
        super().__init__(allow_abbrev=False, **settings)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:
        words = sys.argv[1:] if args is None else list(args)
        for word in words[: words.index("--") if "--" in words else None]:
            flag = word.partition("=")[0]
            if flag.startswith("--") and " " not in word and flag not in self._option_string_actions:
                self.error(f"unknown option {flag}{did_you_mean(flag, self._option_string_actions)}")
        return super().parse_args(words, namespace)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What an error adds after an unknown word: the nearest known one, if any is near."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else "."


def counted(number: int, noun: str) -> str:
    """`1 prompt`, `2,000 prompts`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def run_command(main: Callable[[], int | None]) -> None:
    """Run `main` and leave the process with its exit status; a status of None counts as 0."""
    signal.signal(signal.SIGTERM, _stop)
    _open_missing_streams()
    try:
        status = main() or 0
        sys.stdout.flush()
    except UserError as error:
        status = _say(f"error: {error}", 2)
    except WorkError as error:
        status = _say(f"error: {error}", 1)
    except KeyboardInterrupt as stop:
        status = _say(
            f"\nstopped. {str(stop) or 'What was finished is kept; the same command continues from there.'}", 130
        )
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        status = _say(f"error: {error.filename} cannot be used: {error.strerror}. Give another path.", 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Exception as error:
        message, status = resource_message(error), 1
        if getattr(error, "errno", None) in (errno.ENAMETOOLONG, errno.ELOOP):
            message, status = f"{str(error.filename)[:80]}… cannot be used: {error.strerror}. Give another path.", 2
        if message is None:
            raise
        status = _say(f"error: {message}", status)
    sys.exit(status)


def resource_message(error: BaseException) -> str | None:
    """What to tell the user when the machine ran out of something; None for any other error.

    Libraries wrap a full disk in types of their own (safetensors, torch.save), so the text is looked at too.
    """
    text = str(error)
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in text:
        where = getattr(error, "filename", None)
        return f"no disk space left{f' for {where}' if where else ''}. What was whole before is intact; free some space and run again."
    no_memory = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    if no_memory or "out of memory" in text or "can't allocate memory" in text:
        return "out of memory. Training: lower micro_batch_tokens. Inference: a smaller --batch-size, --dtype bfloat16, --quantization nf4 or a q4_0 GGUF file. Or use a machine with more memory."
    if getattr(error, "errno", None) == errno.EROFS:
        return f"{error.filename} lies on a file system that is read-only. Choose another place."
    if isinstance(error, PermissionError):
        return f"no permission to use {error.filename}. Choose a place that you may write to."
    return None


def _open_missing_streams() -> None:
    """What the shell closed (`<&-`, `>&-`) is None in Python: read it as empty, write it nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for the life of the process


def _stop(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _say(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status
