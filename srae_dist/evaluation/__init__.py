"""What is measured and shown of a trained model."""
