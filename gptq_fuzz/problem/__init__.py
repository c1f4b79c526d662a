"""From a Case to tensors: the same bits on every machine, placed in memory and guarded."""
