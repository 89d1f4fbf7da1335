"""Skills: registered callables with an id that agents run."""
