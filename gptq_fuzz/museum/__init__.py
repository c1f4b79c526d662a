"""Small kernels that test the suite: `faulty/` must be caught, `correct/` must not.

Each is one file, usable as `python -m pytest --kernel gptq_fuzz/museum/faulty/all_zero.py:f`, and a
faulty one is right except for the one thing that its `BUG` says. To add one, write a file with a
docstring and `f(x, qweight, qzeros, scales, g_idx, bits)`, and to a faulty one give the literals
`BUG`, `VERDICTS` (any of these may be reported) and `SMALLEST` (the smallest m, n, k that show it);
where they hold also `ONLY` (the one oracle or fill that sees it), `MISSED` (why no search meets it)
and `AFTER_OTHERS` (no case shows it in a process of its own). `f` may be a `Backend` too.

`python -m qualification.museum` puts each under `python -m pytest --kernel ...` until the first finding and
records what was found, by which oracle and after how long: in benchmarks/museum.json, by content,
and from there in gptq_fuzz/museum/TABLE.md and README.
"""
