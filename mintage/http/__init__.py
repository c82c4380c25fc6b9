"""The surface: two REST documents over one core, each in its own envelope."""
