"""What the use cases and the documents need from outside, in their own words: one module for each subject."""
