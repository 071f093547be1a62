"""What an operator of many nodes needs: one table, one file for all policies, restarts in waves."""
