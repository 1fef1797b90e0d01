"""Which pairs each optimizer step trains on, and which of them share a micro-batch. No torch: reports plan as well."""

import math

import numpy as np


def count_steps(pairs: int, global_batch_size: int, epochs: float) -> int:
    """Steps of exactly `global_batch_size` pairs that see every pair at least `epochs` times in the mean."""
    return max(1, math.ceil(pairs * epochs / global_batch_size))


def plan_steps(pairs: int, global_batch_size: int, steps: int, seed: int) -> list[list[int]]:
    """Which pairs each step trains on: one shuffled pass over the data after another, cut into equal steps.

    Depends on nothing but its arguments, so a resumed run and any number of processes see the same plan.
    """
    passes = math.ceil(steps * global_batch_size / pairs)
    order = np.concatenate([np.random.default_rng([seed, epoch]).permutation(pairs) for epoch in range(passes)])
    return order[: steps * global_batch_size].reshape(steps, global_batch_size).tolist()


def pack_step(lengths: list[int], batch_tokens: int) -> list[list[int]]:
    """Micro-batches of a step: first-fit decreasing, indices into `lengths`, none summing to more than `batch_tokens`.

    The largest come first. A single item longer than `batch_tokens` has a micro-batch to itself.
    """
    batches: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = next((batch for batch, free in enumerate(room) if free >= lengths[index]), None)
        if fits is None:
            batches.append([index])
            room.append(batch_tokens - lengths[index])
        else:
            batches[fits].append(index)
            room[fits] -= lengths[index]
    return sorted(batches, key=lambda batch: -sum(lengths[i] for i in batch))
