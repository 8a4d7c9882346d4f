"""The symbolic backend: torch.fx traces the model, and a slice of its graph is the extractor."""
