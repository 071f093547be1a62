"""Tests of the ledger's pure rules."""
