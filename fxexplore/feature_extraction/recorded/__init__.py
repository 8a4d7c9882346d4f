"""The recorded backend: one real run is observed, and the extractor runs the model's own code."""
