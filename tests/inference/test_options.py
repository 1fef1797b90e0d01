"""What the shared command-line options mean for a model."""

import argparse

import pytest

from command import UserError
from inference.options import add_sampling, check_sampling, chosen_max_new_tokens


def chosen(context: int | None, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    add_sampling(parser)
    options = parser.parse_args(["tiny", *arguments])
    check_sampling(options)
    return chosen_max_new_tokens(options, context)


@pytest.mark.parametrize(
    ("context", "longest"), [(None, 512), (8192, 512), (1024, 512), (1023, 511), (512, 256), (1, 1)]
)
def test_the_longest_answer_leaves_half_of_a_short_context(context, longest):
    assert chosen(context) == longest


def test_what_was_asked_for_stays_and_is_refused_where_it_leaves_no_room():
    assert chosen(512, "--max-new-tokens", "511") == 511 and chosen(None, "--max-new-tokens", "9999") == 9999
    with pytest.raises(
        UserError, match=r"--max-new-tokens 512 leaves no room .* of tiny has 512 tokens. Give .* 256\."
    ):
        chosen(512, "--max-new-tokens", "512")
    with pytest.raises(UserError, match="--max-new-tokens 0 must be 1 or more"):
        chosen(512, "--max-new-tokens", "0")
