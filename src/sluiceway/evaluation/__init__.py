"""How good a model is, where it is not, and the pages that say so to people."""
