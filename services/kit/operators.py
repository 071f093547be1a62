"""What no program may decide: it ends the service with one line that names the page of the runbook."""

STATUS = 78  # the exit status of a service that a restart does not mend (EX_CONFIG of sysexits)
KAFKA_LOST = "docs/runbooks/kafka-lost.md"


class NeedsOperator(Exception):
    """Somebody has to look; `runbook` is the page that says how to go on."""

    runbook = KAFKA_LOST
