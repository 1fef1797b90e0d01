"""What is checked of a release folder before it is pushed, without the Hub.

Each check returns its findings as sentences that name the file, the fault and the fix; none raises for what it finds.
"""

import getpass
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from run_folder import RECORDS, is_llama3_name, is_release_file

REPOSITORY = Path(__file__).resolve().parents[1]
MUST_HAVE = ("config.json", "README.md", "README_zh.md", "LICENSE", "training.json", "SHA256SUMS")
# Pickle protocols 2 to 5, and zip, in which torch.save wraps its pickle.
PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
SECRETS = {
    "a Hub token": r"hf_[A-Za-z0-9]{34}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20}",
    "an API key": r"\bsk-[A-Za-z0-9_-]{32,}",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}",
    "a Slack token": r"\bxox[baprs]-[0-9A-Za-z-]{10,}",
    "a password in a URL": r"https?://[^/\s:@\"]+:[^/\s:@\"]+@",
}
HOME_PATH = r"(?:/home/|/Users/|[A-Za-z]:\\{1,2}Users\\{1,2})[\w.-]+|/root/\w"
VOCABULARY = ("tokenizer.json", "vocab.json", "merges.txt")
# Model answers stand in these: a generic /home/user in them is no leak, this machine's own paths are.
QUOTES_ANSWERS = ("README.md", "README_zh.md", "eval/base/results.json", "eval/tuned/results.json")

Files = dict[str, Path]


def check_release(run_dir: Path, release: Path, files: Files, digests: dict[str, str], repo_id: str) -> list[str]:
    """All findings about a release folder; empty means that it may be pushed."""
    return [
        *check_names(files),
        *check_sums(release, digests),
        *check_pickles(files),
        *check_texts(run_dir, files),
        *check_card(run_dir, release, repo_id),
        *check_results(run_dir, release),
        *check_weights(release),
    ]


def check_names(files: Files) -> list[str]:
    """Only files that a release may hold, all that it must, no links."""
    found = [f"{path} is not a file that a release may hold; remove it" for path in files if not is_release_file(path)]
    found += [f"{path} is a symbolic link; a release holds real files" for path, p in files.items() if p.is_symlink()]
    found += [f"{path} is missing; build the release again" for path in MUST_HAVE if path not in files]
    if not any(path.endswith(".safetensors") for path in files):
        found.append("there is no .safetensors file; build the release again")
    return found


def check_sums(release: Path, digests: dict[str, str]) -> list[str]:
    """SHA256SUMS names every file, and every digest is right."""
    path = release / "SHA256SUMS"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    present = {name: digest for name, digest in digests.items() if name != "SHA256SUMS"}
    found = [
        f"{n} has changed since the release was built (SHA256SUMS); build it again"
        for n in present
        if listed.get(n, present[n]) != present[n]
    ]
    found += [f"{name} is not in SHA256SUMS; build the release again" for name in present if name not in listed]
    return found + [
        f"{name} is in SHA256SUMS but not in the folder; build it again" for name in listed if name not in present
    ]


def check_pickles(files: Files) -> list[str]:
    """No pickle under any name: loading one runs code."""
    found = []
    for path, p in files.items():
        if not p.is_file():
            continue
        with p.open("rb") as stream:
            start = stream.read(4)
        if start.startswith(PICKLE_STARTS):
            found.append(f"{path} is a pickle or an archive; loading it could run code, so it is never pushed")
    return found


def check_texts(run_dir: Path, files: Files) -> list[str]:
    """No secrets and no personal paths in text files. The secret itself is never shown."""
    own = [re.escape(str(p)) for p in {Path.home(), run_dir.resolve(), REPOSITORY} if len(p.parts) > 1]
    own = [*(p + r"(?=[/\\\"'\s,]|$)" for p in own), rf"/(?:home|Users)/{re.escape(getpass.getuser())}\b"]
    found = []
    for path, p in files.items():
        if path.endswith(".safetensors") or not p.is_file():
            continue
        text = p.read_text(encoding="utf-8", errors="replace")
        patterns = dict(SECRETS)
        if path not in VOCABULARY:
            home = own if path in QUOTES_ANSWERS else [*own, HOME_PATH]
            patterns["a path of a home folder or of this machine"] = "|".join(home)
        for what, pattern in patterns.items():
            if match := re.search(pattern, text):
                found.append(
                    f"{path}:{text.count(chr(10), 0, match.start()) + 1} holds {what}; remove it and build again"
                )
    return found


def check_card(run_dir: Path, release: Path, repo_id: str) -> list[str]:
    """The front matter parses, is complete, agrees with the comparison; both cards load `repo_id`, whose name the licence allows."""
    import yaml

    path = release / "README.md"
    if not path.is_file():
        return []
    match = re.match(r"---\n(.*?)\n---\n", path.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    try:
        data = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as error:
        return [f"README.md: the front matter is not YAML ({' '.join(str(error).split())})"]
    if not isinstance(data, dict):
        return ["README.md has no front matter; build the release again"]
    needed = ("license", "pipeline_tag", "language", "library_name")
    found = [
        f"README.md: the front matter has no {key}; build the release again" for key in needed if not data.get(key)
    ]
    found += check_model_index(release, data.get("model-index"))
    again = f".venv/bin/python -m model_card.build {shlex.quote(str(run_dir))} --repo-id {repo_id}"
    found += [
        f"{name} tells readers to load another model than {repo_id}; build it again: {again}"
        for name in ("README.md", "README_zh.md")
        if (text := release / name).is_file()
        and f'model_id = "{repo_id}"\n' not in text.read_text(encoding="utf-8", errors="replace")
    ]
    if data.get("license") == "llama3":
        if not is_llama3_name(repo_id.split("/")[1]):
            found.append(f"--repo-id {repo_id}: the Llama 3 licence asks for a name that begins with Llama-3")
        found += [
            f"{n} is missing; the Llama 3 licence asks for it"
            for n in ("NOTICE", "USE_POLICY.md")
            if not (release / n).is_file()
        ]
    return found


def check_model_index(release: Path, model_index: Any) -> list[str]:
    """Every figure of the front matter's model index is the tuned model's in the released comparison.json."""
    path = release / "eval" / "comparison.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["metrics"] if path.is_file() else []
        measured = {(row["suite"], row["metric"]): row["tuned"].get("value") for row in rows}
        stated = {
            (result["dataset"]["config"], metric["type"]): metric["value"]
            for model in model_index or []
            for result in model["results"]
            for metric in result["metrics"]
        }
        wrong = [key for key, value in stated.items() if round(measured.get(key) or 0.0, 6) != value]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [
            f"README.md: the model index or {path.name} is not of the known form ({error!r}); build the release again"
        ]
    return [
        f"README.md: the model index states {suite} {metric} = {stated[suite, metric]}, comparison.json does not"
        for suite, metric in wrong
    ]


def check_results(run_dir: Path, release: Path) -> list[str]:
    """Every number of the released records is the one in the run folder now."""
    found = []
    for name in RECORDS:
        try:
            now, then = (
                json.loads(p.read_text(encoding="utf-8")) if p.is_file() else None
                for p in (run_dir / name, release / name)
            )
        except ValueError as error:
            found.append(f"{name} is not valid JSON ({error}); run the step that writes it again")
            continue
        if dict(figures(now)) != dict(figures(then)):
            found.append(
                f"{name} in the run folder is not the one that the card was built from; build the release again"
            )
    return found


def figures(record: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(place, figure) of every number, truth value and null in a JSON record; texts are left out: local paths in them are cut."""
    if isinstance(record, dict | list):
        for key, value in record.items() if isinstance(record, dict) else enumerate(record):
            yield from figures(value, f"{place}/{key}")
    elif not isinstance(record, str):
        yield place, record


def check_weights(release: Path) -> list[str]:
    """Every safetensors file opens, holds no NaN or Infinity, and together they are the model that config.json describes."""
    import torch
    from safetensors import SafetensorError, safe_open

    found: list[str] = []
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(release.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - safe_open has no iterator
                    tensor = file.get_tensor(name)
                    shapes[name] = tuple(tensor.shape)
                    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                        found.append(
                            f"{path.name}: {name} holds NaN or Infinity; train again with a lower learning rate"
                        )
        except SafetensorError as error:
            return [*found, f"{path.name} does not open ({error}); it is cut off or damaged: build the release again"]
    return found + check_shapes(release, shapes)


def check_shapes(release: Path, shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Names and shapes of the tensors are those of the model that config.json builds (on the meta device, without memory)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(release)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"config.json does not make a model ({' '.join(str(error).split())[:200]})"]
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tied = set(model.all_tied_weights_keys) if config.tie_word_embeddings else set()
    found = [
        f"the weights lack {name}, which config.json describes"
        for name in wanted
        if name not in shapes and name not in tied
    ]
    found += [f"the weights hold {name}, which config.json does not describe" for name in shapes if name not in wanted]
    both = (name for name in shapes if name in wanted and shapes[name] != wanted[name])
    return found + [f"{name} has shape {shapes[name]}; config.json describes {wanted[name]}" for name in both]


def check_gguf(files: Files) -> list[str]:
    """Every .gguf begins as one."""
    return [
        f"{p} is not a GGUF file; put a whole .gguf file there, or leave --gguf out"
        for p in files.values()
        if p.open("rb").read(4) != b"GGUF"
    ]
