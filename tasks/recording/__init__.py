"""What MLflow keeps of runs, and how it is found again."""
