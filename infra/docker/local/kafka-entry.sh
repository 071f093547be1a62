#!/bin/sh
# Turns KAFKA_SOME_NAME into some.name=…, formats new storage, and becomes the broker.
set -eu
export KAFKA_LOG_DIRS="${KAFKA_LOG_DIRS:-/var/lib/kafka/data}"
env | sed -n 's/^KAFKA_\([A-Z_]*\)=/\1=/p' | while IFS='=' read -r name value; do
    echo "$(echo "$name" | tr 'A-Z_' 'a-z.')=$value"
done >/tmp/server.properties
export CLASSPATH="/opt/kafka/jars/*"
run="/opt/java/bin/java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
if [ ! -f "$KAFKA_LOG_DIRS/meta.properties" ]; then
    $run kafka.tools.StorageTool format --cluster-id=aG91cmJvb2stbG9jYWwtMQ -c /tmp/server.properties
fi
exec $run kafka.Kafka /tmp/server.properties
