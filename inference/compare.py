"""The base's answer and the tuned model's under each other: python -m inference.compare BASE TUNED --prompt TEXT

TUNED is loaded and asked with transformers alone, so this also shows that a release works without this project. Greedy.
"""

import argparse

from command import UserError, run_command
from inference.loading import default_dtype, fetch, load_model, load_tokenizer, resolve
from inference.options import MODEL_HELP


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inference.compare",
        description="Ask a base model and its tuned one the same, greedily.",
        allow_abbrev=False,
    )
    parser.add_argument("base", metavar="BASE", help=MODEL_HELP)
    parser.add_argument("tuned", metavar="TUNED", help="a model folder or a Hub id")
    parser.add_argument("--prompt", required=True, help="what to ask")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="longest answer in tokens (default 256)")
    return parser


def main(argv: list[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    if options.max_new_tokens < 1:
        raise UserError(f"--max-new-tokens {options.max_new_tokens} must be 1 or more.")
    base, tuned = resolve(options.base), resolve(options.tuned)
    if tuned.kind not in ("folder", "hub"):
        raise UserError(f"TUNED {options.tuned}: give a model folder or a Hub id; this is of the kind {tuned.kind}.")
    conversation = [{"role": "user", "content": options.prompt}]
    print(f"── {base.name}\n{base_answer(base, conversation, options.max_new_tokens)}\n")
    print(f"── {tuned.name}\n{plain_answer(str(fetch(tuned)), conversation, options.max_new_tokens)}")
    return 0


def base_answer(source, conversation: list[dict], max_new_tokens: int) -> str:
    tokenizer, model = load_tokenizer(source), load_model(source, default_dtype())
    from inference.engine import Engine

    return next(Engine(model, tokenizer).generate([conversation], max_new_tokens=max_new_tokens)).text


def plain_answer(path: str, conversation: list[dict], max_new_tokens: int) -> str:
    """A greedy answer by transformers alone, on the CPU, in the weights' own dtype: no code of this project is used."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto", use_safetensors=True)
    inputs = tokenizer.apply_chat_template(
        conversation, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    return tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


if __name__ == "__main__":
    run_command(main)
