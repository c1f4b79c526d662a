"""The token of each condition, and what judges a case under it."""

from __future__ import annotations

from gptq_fuzz.oracle.conditions import ambient
from gptq_fuzz.oracle.conditions.batch import same_bits_in_any_batch
from gptq_fuzz.oracle.conditions.graph import replayed
from gptq_fuzz.oracle.conditions.many import called_again
from gptq_fuzz.oracle.conditions.memory import out_of_memory
from gptq_fuzz.oracle.conditions.operators import checked_operator, compiled
from gptq_fuzz.oracle.conditions.streams import on_other_streams
from gptq_fuzz.oracle.conditions.threads import in_two_threads

CONDITIONS = {
    **{name: ambient.in_context(name) for name in ("defbf16", "deff16", "deff64", "defmeta")},
    "omp3": ambient.more_threads,
    "det": ambient.in_context("det"),
    "other": ambient.other_settings,
    "grad": ambient.x_requires_grad,
    "nograd": ambient.without_gradients,
    "infer": ambient.inference_mode,
    "autocast": ambient.autocast,
    "param": ambient.parameters,
    "threads2": in_two_threads,
    "calls500": called_again,
    "stream": on_other_streams,
    "graph": replayed,
    "batchinv": same_bits_in_any_batch,
    "opcheck": checked_operator,
    "compile": compiled,
    "oom": out_of_memory,
}
