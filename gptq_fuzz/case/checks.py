"""Names that those who ask and those who judge share: the former need no torch for them."""

RELATIONS = (  # the same numbers asked for in another way: oracle/relations.py
    "row alone",
    "contiguous",
    "strided",
    "rows regrouped",
    "all zeros",
    "identity",
    "unnamed",
    "alone in memory",
    "nudged",
    "rows permuted",
    "columns split",
    "halved",
    "other format",
    "group named",
    "reloaded",
    "other config",
)
RIGHT_ALONE = "no weight is wrong where x asks for it alone"  # how a diagnosis begins
WRONG_ALONE = "weights alone"  # else: what hints are asked for
# Of memory at whose edge operands lay, when a call ended there
NOT_MAPPED = "; what lies {} was not mapped, and on a CPU operands could only be read"
