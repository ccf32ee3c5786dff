"""The measuring pass: contents are read, measured and sketched, on any engine, and remembered."""
