"""The character: a named figure with a picture, kept by a person for use in generation."""
