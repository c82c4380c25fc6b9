"""Use cases in the customer's words: pure functions of a transaction, and the awaiting of their outcome."""
