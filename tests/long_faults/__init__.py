"""The long form of the fault run: rounds of accidents with a restored backup in each, added up over several runs."""
