"""Commands that measure and show a trained model: evaluate, classify, embed, neighbours."""
