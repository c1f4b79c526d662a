"""A cluster on this machine: several Dask workers for each GPU, which see it alone; else one for
every two cores.

A case costs a core far longer than a GPU: several workers share one, whose memory each process of a
kernel has a part of.
"""

from __future__ import annotations

import logging
import os

import torch
from distributed import Nanny, Scheduler, SpecCluster

PER_GPU = 16  # workers at most; see docs/campaigns.md for what they judge
CORES = 2  # for each worker where there is no GPU
NAME = "gptq-fuzz"
HERE = "127.0.0.1"  # who reaches a scheduler can run code on its workers


def places(per_gpu: int | None = None) -> list[dict[str, str]]:
    """The environment of each worker; by default one for each core, and no more than PER_GPU."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    gpus = listed.split(",")[:count] if listed else [str(number) for number in range(count)]
    cores = len(os.sched_getaffinity(0))
    if not gpus:
        return [{} for _ in range(max(cores // CORES, 1))]
    per_gpu = per_gpu or min(max(cores // len(gpus), 1), PER_GPU)
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus for _ in range(per_gpu)]


def cluster_here(environments: list[dict[str, str]], dashboard: int = 8787) -> SpecCluster:
    """A scheduler and these workers, each restarted when it dies."""
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                **{"nthreads": 1, "env": environment, "memory_limit": 0, "host": HERE},
                **{"silence_logs": logging.ERROR, "preload": ["gptq_fuzz.campaign.deaf"]},
            },
        }
        for number, environment in enumerate(environments)
    }
    options = {"host": HERE, "dashboard": True, "dashboard_address": f"{HERE}:{dashboard}"}
    scheduler = {"cls": Scheduler, "options": options}
    return SpecCluster(workers, scheduler, name=NAME, silence_logs=logging.ERROR)
