"""The generation task: asked for, attempted, ended once."""
