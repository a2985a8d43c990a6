"""Who is calling: every kind of proof that a caller can give, and what it makes of him."""
