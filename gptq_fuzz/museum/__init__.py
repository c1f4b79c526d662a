"""Small kernels that test the suite: `faulty/` must be caught, `correct/` must not.

A piece is one small file, put under the suite by `gptq-fuzz --kernel gptq_fuzz/museum/faulty/
all_zero.py:f`; a faulty one is right except for what its `BUG` says. To add one, write a file with
a docstring and `f(x, qweight, qzeros, scales, g_idx, bits)`, or a `Backend` called `f`, that
imports from `gptq_fuzz` and `gptq_fuzz.museum.parts` alone. A faulty one assigns a literal to `BUG`
and, where it differs from the commonest, to `VERDICTS` (any of these may be reported; WRONG),
`SMALLEST` (the smallest m, n, k that show it; 1, 4, 4), `ONLY` (the one oracle, fill or list that
sees it) and `AFTER_OTHERS` (True where no case shows it in a process of its own, but a list of them
does).

`python -m qualification.museum`, of a checkout, searches each piece until the first finding and
reports what was caught, by which oracle and after how long.
"""
