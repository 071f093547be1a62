"""Unit tests of delivery: enrolment, reports, the meter, leases and challenges as pure rules."""
