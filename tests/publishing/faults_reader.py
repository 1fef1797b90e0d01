"""publishing/reader.py whose waits between attempts are short; run in its place, alone, by publishing.verification."""

import os
import runpy
import time
from pathlib import Path

LONGEST_SLEEP = 0.02  # seconds
REAL_SLEEP = time.sleep

if __name__ == "__main__":
    time.sleep = lambda seconds: REAL_SLEEP(min(seconds, LONGEST_SLEEP))
    os.environ |= {"HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms", "HF_XET_CLIENT_READ_TIMEOUT": "2s"}
    reader = Path(__file__).resolve().parents[2] / "publishing" / "reader.py"
    runpy.run_path(str(reader), run_name="__main__")
