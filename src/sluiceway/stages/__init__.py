"""One file per stage: a recipe that reads from top to bottom."""
