"""Great Expectations on the example table: suites, the figures they need, their pages."""
