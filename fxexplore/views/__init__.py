"""Pure functions from a model graph and a view state to something to look at."""
