"""The values of the axes of a Case, simplest first."""

BITS = (8, 4, 2)
G_IDX_KINDS = (
    *("seq", "act", "rev", "one", "skew", "mix", "gap", "perm", "shard", "odd", "holes", "near"),
    "none",
)
ZERO_KINDS = ("zall", "zsym", "z0", "zmax", "zeq")
FORMATS = ("v1", "v2")
DTYPES = ("f16", "bf16", "f32")
SCALES_DTYPES = ("sf16", "sbf16", "sf32")
LAYOUTS = ("", "pad", "xt", "off", "bcast", "step", "xtp", "cut", "alt", "swap")
COUNTED = ("pad", "off", "step", "xtp", "cut")  # layouts with a number behind them
BATCHED = ("cut", "alt", "swap")  # layouts of an x of rank 3 or 4
RANKS = (2, 1, 3, 4)
STRIDED = ("wstr", "sstr", "zstr", "gstr")
STARTS = (0, 4, 8, 16)  # bytes from an address that torch would give to the first of an operand
FILLS = (
    "exact",
    "sparse",
    "onehot",
    "lanes",
    "randn",
    "big",
    "tiny",
    "nonfinite",
    "ties",
    "wide",
    "cancel",
)
# What surrounds a call, see oracle/conditions: those that any kernel is asked, then those that one
# has to promise; and those of them that only a GPU has
USUAL_CONDITIONS = (
    *("defbf16", "deff64", "defmeta", "omp3", "det"),
    *("grad", "infer", "autocast", "threads2", "calls500", "stream"),
)
CONDITIONS = (*USUAL_CONDITIONS, "graph", "batchinv", "opcheck", "compile", "oom")
ON_A_GPU = ("stream", "graph")
AUTOCAST_FILLS = ("exact", "sparse", "randn")  # products in 16 bits lose what others are about
MOST_CALLED_AGAIN = 48  # rows, columns, reduction of what is drawn for calls500
BAD = (
    *("gidx", "neg", "glen", "gdtype"),
    *("shape", "zshape", "sshape"),
    *("dtype", "wdtype", "zdtype", "sdtype"),
    *("bits", "rank", "device"),
)
WHOLE_GROUP = -1  # "gall": one group over all of K, as group size -1 says in checkpoints
WORD_BITS = 32
