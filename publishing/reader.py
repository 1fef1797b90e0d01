"""What another machine would do with the release: run by path, alone, with an empty HF_HOME and nothing of this project.

python -I reader.py download REPO_ID KIND COMMIT        fetch every file; prints the folder
python -I reader.py logits MODEL REVISION OUTPUT         load with from_pretrained in fp32, write logits (REVISION "-": a folder)
"""

import sys

# Fixed, one of each language that the model answers in. Short: the proof is that the same weights speak, not how well.
PROMPTS = ("What is the capital of France? Answer in one sentence.", "请用一句话介绍北京。")


def download(repo_id: str, kind: str, commit: str) -> None:
    """All files of a commit into HF_HOME."""
    from huggingface_hub import snapshot_download

    print(snapshot_download(repo_id, repo_type=kind, revision=commit))


def logits(model_id: str, revision: str, output: str) -> None:
    """ids_N (tokens,) and logits_N (tokens, vocabulary), fp32, of each prompt through the chat template."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {} if revision == "-" else {"revision": revision}
    tokenizer = AutoTokenizer.from_pretrained(model_id, **where)
    model = AutoModelForCausalLM.from_pretrained(model_id, dtype=torch.float32, **where).eval()
    tensors = {}
    for number, prompt in enumerate(PROMPTS):
        messages = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.inference_mode():
            tensors |= {f"ids_{number}": ids[0], f"logits_{number}": model(ids).logits[0].clone()}
    save_file(tensors, output)


if __name__ == "__main__":
    {"download": download, "logits": logits}[sys.argv[1]](*sys.argv[2:])
