"""Products with 4-bit weights whose groups all have one size: kernels faster than the general one.

`product` finds out whether they take weights, and launches; `plan` chooses the block and the shares
of K; `kernels` holds those that dequantise where they multiply, `dense_kernels` those that write
weights out first; `row_order` sorts the rows of a layer by group.
"""
