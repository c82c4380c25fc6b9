"""Tamper evidence: the whole log in a Merkle tree whose roots are signed and kept outside the database as well."""
