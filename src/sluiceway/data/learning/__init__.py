"""The classical learner that the data gate and the evaluation share."""
