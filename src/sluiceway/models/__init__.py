"""Networks and nothing else: no training code, no data code."""
