"""The suite's machinery. `WORKER_MODULES` are what a kernel's environment must import."""

# A worker may run under another interpreter (`--python`): torch is all that is promised there.
WORKER_MODULES = (
    "backend",
    "bad",
    "case",
    "control",
    "decode",
    "diagnosis",
    "execute",
    "fills",
    "fingerprint",
    "judge",
    "layouts",
    "loader",
    "locate",
    "operands",
    "philox",
    "probe",
    "relations",
    "rounding",
    "rounding_probe",
    "sum_order",
    "summation",
    "surroundings",
    "verdict",
    "worker",
)
