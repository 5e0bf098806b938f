"""Learn the scaling factors: by meta-learning (algorithm 1 of the paper), by fitting margins, or on a grid."""
