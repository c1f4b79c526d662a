"""What was judged and found, as one page that needs nothing else, and as GitHub shows it."""
