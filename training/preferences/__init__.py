from training.preferences.old import *  # noqa
from training.preferences.old import HeldOut, SUITES, held_out_prompts, load_preferences, list_errors, fingerprint, ngrams, split_tokens, pin, read_hub, parse_row, Pair, Preferences
