"""The base's answer and the tuned model's under each other: python -m inference.compare BASE TUNED --prompt TEXT

Without options for loading, a TUNED of safetensors is loaded and asked with transformers alone, so this also shows that a
release works without this project. Greedy.
"""

from command import CommandParser, UserError, run_command
from inference.loading import Source, fetch, resolve, user_errors
from inference.options import MODEL_HELP, add_loading, loading_options
from inference.runtime import open_engine


def build_parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m inference.compare",
        description="Ask a base model and its tuned one the same, greedily.",
    )
    parser.add_argument("base", metavar="BASE", help=MODEL_HELP)
    parser.add_argument("tuned", metavar="TUNED", help="a MODEL too")
    parser.add_argument("--prompt", required=True, help="what to ask")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="longest answer in tokens (default 256)")
    add_loading(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.max_new_tokens < 1:
        raise UserError(f"--max-new-tokens {options.max_new_tokens} must be 1 or more.")
    if not options.prompt.strip():
        raise UserError("--prompt is empty. Say what to ask.")
    base, tuned = resolve(options.base), resolve(options.tuned)
    loading, conversation = loading_options(options), [{"role": "user", "content": options.prompt}]
    asked = any(value != parser.get_default(name) for name, value in loading.items())
    answer_tuned = engine_answer if asked or tuned.kind not in ("folder", "hub") else plain_answer
    print(f"── {base.name}\n{engine_answer(base, conversation, options.max_new_tokens, loading)}\n", flush=True)
    print(f"── {tuned.name}\n{answer_tuned(tuned, conversation, options.max_new_tokens, loading)}")
    return 0


def engine_answer(source: Source, conversation: list[dict], max_new_tokens: int, loading: dict) -> str:
    """A greedy answer as chat and generate give it."""
    return next(open_engine(source, **loading).generate([conversation], max_new_tokens=max_new_tokens)).text


def plain_answer(source: Source, conversation: list[dict], max_new_tokens: int, _loading: dict) -> str:
    """A greedy answer by transformers alone, on the CPU, in the weights' own dtype: no code of this project is used."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = str(fetch(source))
    with user_errors(source):
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype="auto", use_safetensors=True)
    inputs = tokenizer.apply_chat_template(
        conversation,
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
        tokenizer_kwargs={"verbose": False},  # the base's engine has refused what is too long
    )
    output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    return tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


if __name__ == "__main__":
    run_command(main)
