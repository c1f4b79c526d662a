"""The values of the axes of a Case, simplest first."""

BITS = (8, 4, 2)
G_IDX_KINDS = ("seq", "act", "rev", "one", "skew", "mix", "gap", "perm", "shard", "odd", "none")
ZERO_KINDS = ("zall", "zsym", "z0", "zmax", "zeq")
FORMATS = ("v1", "v2")
DTYPES = ("f16", "bf16", "f32")
SCALES_DTYPES = ("sf16", "sbf16", "sf32")
LAYOUTS = ("", "pad", "xt", "off", "bcast")
RANKS = (2, 1, 3, 4)
STRIDED = ("wstr", "sstr", "zstr", "gstr")
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
BAD = (
    *("gidx", "neg", "glen", "gdtype"),
    *("shape", "zshape", "sshape"),
    *("dtype", "wdtype", "zdtype", "sdtype"),
    *("bits", "rank", "device"),
)
WHOLE_GROUP = -1  # "gall": one group over all of K, as group size -1 says in checkpoints
WORD_BITS = 32
