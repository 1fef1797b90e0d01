"""What the base model's licence asks of a release: texts copied, never written here; a notice; the name; a line on the card."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from command import UserError
from model_card.hub_files import Unreachable, fetch_file
from run_folder import is_llama3_name

REPOSITORY = Path(__file__).parent.parent
_LLAMA_IDS = re.compile(r"meta-llama/(?:Meta-)?Llama-(3(?:\.[123])?)-\d+B(?:-Instruct)?")
_GEMMA_NOTICE = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
_OWN_DUTIES = re.compile(r"llama")  # families whose licences ask for words of their own
_HUB_LICENCES = {
    "apache-2.0",
    "mit",
    "llama3",
    "llama3.1",
    "llama3.2",
    "llama3.3",
    "gemma",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "bsd-3-clause",
}


@dataclass(frozen=True)
class LlamaTerms:
    """What sections 1.b.i and 1.b.iii of a Llama licence ask for: its product's name in the notice, a line, how a name begins."""

    product: str
    built_with: str
    begins: str

    @property
    def notice(self) -> str:
        """The sentence that the licence prescribes for the file NOTICE."""
        return (
            f"{self.product} is licensed under the {self.product} Community License, "
            "Copyright © Meta Platforms, Inc. All Rights Reserved."
        )

    @property
    def marker(self) -> str:
        """What the title of the licence's text holds, in capitals."""
        return f"{self.product.removeprefix('Meta ')} Community License".upper()

    def allows(self, name: str) -> bool:
        """Whether a model made from it may be called so."""
        return is_llama3_name(name) if self.begins == "Llama-3" else name.startswith(self.begins)


# Since 3.1 the name of the family is enough. Llama 3.2's and 3.3's texts differ from 3.1's in nothing that is asked of a release.
LLAMA = {
    "llama3": LlamaTerms("Meta Llama 3", "Built with Meta Llama 3", "Llama-3"),
    **{f"llama3.{n}": LlamaTerms(f"Llama 3.{n}", "Built with Llama", "Llama") for n in (1, 2, 3)},
}


@dataclass(frozen=True)
class Licence:
    """The licence of a release: its Hub id, the files it puts into the folder, the line it puts on the card."""

    name: str
    files: dict[str, Path | bytes] = field(default_factory=dict)
    built_with: str | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """The licence fields of the card's front matter; a licence the Hub has no id for is `other`, with name and link."""
        if self.name in _HUB_LICENCES:
            return {"license": self.name}
        return {"license": "other", "license_name": self.name, "license_link": "LICENSE"}


def find_licence(base: dict[str, Any], name: str, given: dict[str, Any]) -> Licence:
    """The licence of a model trained from `base` and published as `name`.

    `given` holds the command line's `license`, `license_file` and `use_policy_file` (each may be None).
    UserError: the licence is unknown, a text is missing or is another licence's, or the name breaks a rule of the licence.
    """
    licence = licence_id(base, given.get("license"))
    if given.get("use_policy_file") and licence not in LLAMA:
        raise UserError(f"--use-policy-file {given['use_policy_file']}: {licence} has no use policy. Leave it out.")
    changed = f"{name} is a modified version of {base_name(base)}: its weights were changed by fine-tuning with ORPO.\n"
    if terms := LLAMA.get(licence):
        check_name(name, terms)
        text = find_text("LICENSE", base, given.get("license_file"), "--license-file", terms.marker)
        policy = find_text("USE_POLICY.md", base, given.get("use_policy_file"), "--use-policy-file", "USE POLICY")
        notice = f"{terms.notice}\n\n{terms.built_with}. {changed}".encode()
        return Licence(licence, {"LICENSE": text, "USE_POLICY.md": policy, "NOTICE": notice}, terms.built_with)
    if licence == "gemma":  # section 3.1 of its terms; 3.2 are the restrictions of use
        text = find_text("LICENSE", base, given.get("license_file"), "--license-file", "GEMMA TERMS OF USE")
        notice = f"{_GEMMA_NOTICE}\n\n{changed}Its use is subject to the restrictions in section 3.2 of these terms.\n"
        return Licence(licence, {"LICENSE": text, "NOTICE": notice.encode()})
    if _OWN_DUTIES.match(licence):
        raise UserError(
            f"what the licence {licence} asks of a release (a notice, a name, a line on the card) is not known here. "
            f"Train from a base under one of: {', '.join(LLAMA)}, gemma, apache-2.0, mit."
        )
    if licence == "apache-2.0":
        own = given.get("license_file") or REPOSITORY / "LICENSE"
        text = find_text("LICENSE", base, own, "--license-file", "APACHE LICENSE")
        notice = base_notice(base) + changed.encode()
        return Licence(licence, {"LICENSE": text, "NOTICE": notice})
    text = find_text("LICENSE", base, given.get("license_file"), "--license-file", "")
    return Licence(licence, {"LICENSE": text, "NOTICE": base_notice(base) + changed.encode()})


def licence_id(base: dict[str, Any], given: str | None) -> str:
    """The base's licence: as recorded, as its Hub id or its own card says, or as given. UserError if none says or they differ."""
    known = base.get("license")
    if not known and (llama := _LLAMA_IDS.fullmatch(base.get("hub_id") or "")):
        known = f"llama{llama[1]}"
    known = known or licence_of_card(base, given)
    if known and given and known != given:
        raise UserError(f"--license {given} contradicts the base model's own licence, {known}. Leave --license out.")
    if not (known or given):
        raise UserError(
            f"the licence of {base_name(base)} is not recorded. Look it up and give it: --license ID (apache-2.0, llama3, …)."
        )
    return str(known or given)


def licence_of_card(base: dict[str, Any], given: str | None) -> str | None:
    """The licence that the base's own card states; None where it has none. Unreachable only where nothing is `given` either."""
    try:
        card = base_file("README.md", base)
    except Unreachable as error:
        if given:
            return None
        raise Unreachable(f"{error} It would state the base's licence. Give it: --license ID, or try again.") from None
    text = card.read_text(encoding="utf-8", errors="replace") if card else ""
    stated = dict(re.findall(r"^(license|license_name):\s*([\w.-]+)\s*$", text, re.MULTILINE))
    return stated.get("license_name") if stated.get("license") == "other" else stated.get("license")


def check_name(name: str, terms: LlamaTerms) -> None:
    """UserError unless the name is one that the licence allows."""
    if not terms.allows(name):
        begins = "'Llama 3' or 'Llama-3'" if terms.begins == "Llama-3" else f"{terms.begins!r}"
        raise UserError(
            f"the name {name!r} does not begin with {begins}, which the {terms.product} Community License "
            f"(1.b.i) asks of every model made from it. Give one that does: --repo-id ORG/{terms.begins}-…"
        )


def find_text(filename: str, base: dict[str, Any], given: Path | None, option: str, marker: str) -> Path:
    """The file with a licence text: the given one, else the base model's own. UserError if missing or without `marker`."""
    try:
        path, why = given or base_file(filename, base), ""
    except (Unreachable, UserError) as error:
        path, why = None, str(error)
    if path is None or not path.is_file():
        where = (
            f"{path} is not a file" if path else why or f"{base_name(base)} has no {filename} beside its weights here"
        )
        fetch = (
            f"hf download {base['hub_id']} {filename}" if base.get("hub_id") else "get it from the model's publisher"
        )
        raise UserError(
            f"{where.rstrip('.')}, and the licence must go with the model. Give it: {option} FILE ({fetch})."
        )
    text = " ".join(path.read_text(encoding="utf-8", errors="replace").upper().split())
    if not text or marker not in text:
        raise UserError(
            f"{path} is not the text that is needed: it does not contain {marker!r}. Give the right file: {option} FILE."
        )
    return path


def base_notice(base: dict[str, Any]) -> bytes:
    """The base model's own NOTICE, which Apache-2.0 section 4(d) asks to carry on; empty if it has none.

    Without network it has none if the base's other files are in the cache: training fetched a NOTICE along with them.
    """
    try:
        path = base_file("NOTICE", base)
    except Unreachable:
        if cached_file("config.json", base) is None:
            raise
        path = None
    return path.read_bytes().rstrip() + b"\n\n" if path else b""


def base_file(filename: str, base: dict[str, Any]) -> Path | None:
    """A file of the base model: in its local folder, in the Hub cache at its revision, or fetched from there; None if it has none.

    LICENSE and NOTICE may be spelt with .txt or .md, as some publishers do. Unreachable: it is not here, and no network.
    """
    names = [filename] if "." in filename else [filename, f"{filename}.txt", f"{filename}.md"]
    folder = Path(str(base.get("model") or ""))
    if base.get("kind") != "pypi" and folder != Path() and folder.is_dir():
        found = next((folder / name for name in names if (folder / name).is_file()), None)
        if found:
            return found
    cached = next((path for name in names if (path := cached_file(name, base))), None)
    if cached or base.get("kind") != "hub" or not base.get("revision"):
        return cached
    fetched = (fetch_file(base["hub_id"], name, base["revision"]) for name in names)
    return next((path for path in fetched if path), None)


def cached_file(name: str, base: dict[str, Any]) -> Path | None:
    """A file of the base in the Hub's cache at its revision."""
    if not base.get("hub_id") or base.get("kind") == "pypi":
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(base["hub_id"], name, revision=base.get("revision"))
    return Path(path) if isinstance(path, str) else None


def base_name(base: dict[str, Any]) -> str:
    """What the base model is called in a sentence: its Hub id, else its short name."""
    return str(base.get("hub_id") or base.get("name") or "the base model")
