"""What is measured, and how: every figure is a ratio to a floor or an echo taken in the same run."""
