"""The agent of a GPU node: it enrols, reports, proves, leases out and sells what the operator's policy allows."""
