"""The algorithms that propose points; each one forgets everything between two calls."""
