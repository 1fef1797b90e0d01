"""Which pairs are held out, when they are looked at, and when that ends the run. No torch here: the recipe is checked by it.

    validation: {pairs: 200, every: 50}              # or a fraction: pairs: 0.05
    validation: {dataset: PATH, every: 50}           # or a set of its own, in any form that `dataset` takes
    early_stopping: {patience: 3, threshold: 0.01}   # nats; threshold 0 if left out

`pairs` are drawn by the recipe's seed and the pairs' own content, whatever their order in the files, each language in its
share; near duplicates and translated twins (preferences/relations.py) stay on one side. A pair of a validation set of its own
that belongs to a pair that is trained on is dropped and counted. The whole set is measured every `every`
steps and after the last. Early stopping ends the run once `patience` validations in a row have not lowered the least loss by
more than `threshold`, and the run's model is then that of its least validation loss, however it ended.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from command import UserError
from training.preferences import Pair, Preferences, language_of
from training.preferences.mixing import order_of
from training.preferences.store import digests_of, sources_of

VALIDATION_NEED = "{pairs: a whole number, or a fraction below 1; every: steps}, or {dataset: PATH, every: steps}"
STOPPING_NEED = "{patience: a whole number above 0, threshold: 0 or above}"


def check_validation(validation: dict[str, Any], early_stopping: dict[str, Any], name: str) -> None:
    """UserError that names the recipe's key, the value and what is needed."""
    if validation:
        source = validation.keys() & {"pairs", "dataset"}
        amount = validation.get("pairs", 1)
        good = len(source) == 1 and validation.keys() == {*source, "every"} and is_count(validation["every"])
        if not good or not (is_count(amount) or (isinstance(amount, float) and 0 < amount < 1)):
            raise UserError(f"{name}: validation is {validation!r}; needed: {VALIDATION_NEED}.")
    if early_stopping:
        threshold = early_stopping.get("threshold", 0)
        known = {"patience"} <= early_stopping.keys() <= {"patience", "threshold"}
        number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
        if not known or not is_count(early_stopping["patience"]) or not number or not 0 <= threshold < math.inf:
            raise UserError(f"{name}: early_stopping is {early_stopping!r}; needed: {STOPPING_NEED}.")
        if not validation:
            raise UserError(f"{name}: early_stopping needs validation: {VALIDATION_NEED}.")


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def split(data: Preferences, groups: np.ndarray, training_sources: int, amount: float | None, seed: int) -> list[int]:
    """Indices of the pairs to validate on, ascending. `groups`: (n,), the group of each pair; no group is divided.

    Those of the sources from number `training_sources` on; else `amount` of all pairs, a count, or a fraction if below 1.
    """
    if amount is None:
        own = sources_of(data.pairs) >= training_sources
        held = np.flatnonzero(own & ~np.isin(groups, groups[~own])).tolist()
        if not held:
            raise UserError("validation.dataset: none of its pairs is left. Give pairs that are not trained on.")
        return held
    count = amount if amount >= 1 else max(1, round(amount * len(data.pairs)))
    if count >= len(data.pairs):
        raise UserError(f"validation.pairs is {count}, but there are {len(data.pairs)} pairs in all. Give fewer.")
    held = draw(data.pairs, groups, int(count), seed)
    if not held:
        raise UserError(f"validation.pairs is {count}: more pairs than that belong together everywhere. Give more.")
    return held


def draw(pairs: Sequence[Pair], groups: np.ndarray, count: int, seed: int) -> list[int]:
    """`count` indices, ascending (fewer where whole groups do not fit), each language in its share.

    The groups come in the order of the least seeded key of their pairs, which is made of their text alone; a group counts
    for the language of that pair.
    """
    names, languages = np.unique([language_of(pair) for pair in pairs], return_inverse=True)
    order = order_of(digests_of(pairs), seed)
    _, first, group, sizes = np.unique(groups[order], return_index=True, return_inverse=True, return_counts=True)
    counts = np.bincount(languages)
    room = shares(Counter(dict(zip(names.tolist(), counts.tolist(), strict=True))), count)
    left = [room[name] for name in names.tolist()]
    taken = np.zeros(len(first), bool)
    for number in np.argsort(first).tolist():
        language = int(languages[order[first[number]]])
        if sizes[number] <= left[language]:
            taken[number] = True
            left[language] -= int(sizes[number])
    return np.sort(order[taken[group]]).tolist()


def shares(counts: Counter, total: int) -> dict[str, int]:
    """`total` split in proportion to the counts; what rounding leaves goes to the largest remainders."""
    exact = {name: total * number / counts.total() for name, number in sorted(counts.items())}
    result = {name: int(value) for name, value in exact.items()}
    by_rest = sorted(exact, key=lambda name: (result[name] - exact[name], name))
    for name in by_rest[: total - sum(result.values())]:
        result[name] += 1
    return result


def is_stale(losses: list[float], patience: int, threshold: float) -> bool:
    """Whether the last `patience` validation losses have not come more than `threshold` below the least before."""
    least, since = math.inf, 0
    for loss in losses:
        if loss < least - threshold:
            since = 0
        else:
            since += 1
        least = min(least, loss)
    return since >= patience


def losses_of(log_history: list[dict[str, Any]]) -> list[float]:
    return [entry["eval_loss"] for entry in log_history if "eval_loss" in entry]


def validations_of(log_history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record a validation, for training.json, from the trainer's log, which checkpoints keep."""
    keys = ("loss", "nll", "odds_ratio_loss", "log_odds", "accuracy", "pairs", "seconds")
    found = [entry for entry in log_history if "eval_loss" in entry]
    return [{"step": entry["step"], **{key: entry[f"eval_{key}"] for key in keys}} for entry in found]
