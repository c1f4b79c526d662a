"""What other projects call: `check` a kernel, `verify` tensors, store them as a problem."""
