"""Learning of the scaling factors: by meta-learning (algorithm 1 of the paper), by a fit of margins, or on a grid."""
