"""Products with 4-bit weights whose groups all have one size."""
