"""Reference data: the products that the venue lists, and real offers of GPU servers as operators' sites."""
