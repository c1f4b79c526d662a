"""What the kernels must compute: the word format and the product, in plain torch and float64."""
