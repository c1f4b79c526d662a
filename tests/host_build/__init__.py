"""C++ programs around the host build of the ExLlama kernels, without torch."""
