"""Where work runs that is not training: on this machine, or on a cluster."""
