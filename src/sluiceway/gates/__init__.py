"""Pure decisions: figures in, a verdict out."""
