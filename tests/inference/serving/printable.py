"""A tiny chat model of random weights whose answers are whole characters, so that what two programs decode can be compared."""

from pathlib import Path

SAMPLING = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 0}
CONTEXT = 512


def save_printable_model(folder: Path, tiny_folder: Path) -> Path:
    """The tiny model's tokenizer; tokens that are no whole printable characters get a logit far below all others.

    Coordinate 0 of the residual stream is 1 from the embedding on, as no layer writes there, so that column 0 of the head is a bias.
    """
    import torch
    from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    texts = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    said = [
        number == tokenizer.eos_token_id or (text.isprintable() and "\ufffd" not in text)
        for number, text in enumerate(texts)
    ]
    for special in set(tokenizer.all_special_ids) - {tokenizer.eos_token_id}:
        said[special] = False
    torch.manual_seed(3)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
        tie_word_embeddings=False,
        **shape,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 1.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0
            layer.mlp.down_proj.weight[0] = 0
        model.lm_head.weight *= 4
        model.lm_head.weight[:, 0] = torch.where(torch.tensor(said), 0.0, -200.0)
    ends = [tokenizer.eos_token_id]
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=ends[0], **SAMPLING)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
