"""Record runs to MLflow, and find recorded runs again."""
