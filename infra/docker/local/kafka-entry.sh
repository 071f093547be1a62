#!/bin/sh
# Turns KAFKA_SOME___NAME_HERE into some-name.here=…, as the official image does, formats new storage, and becomes the broker.
set -eu
export KAFKA_LOG_DIRS="${KAFKA_LOG_DIRS:-/var/lib/kafka/data}"
env | sed -n 's/^KAFKA_\([A-Z0-9_]*\)=/\1=/p' | while IFS='=' read -r name value; do
    echo "$(echo "$name" | sed 's/___/-/g; s/_/./g' | tr 'A-Z' 'a-z')=$value"
done >/tmp/server.properties
export CLASSPATH="/opt/kafka/jars/*"
run="/opt/java/bin/java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
if [ ! -f "$KAFKA_LOG_DIRS/meta.properties" ]; then
    $run kafka.tools.StorageTool format --cluster-id=aG91cmJvb2stbG9jYWwtMQ -c /tmp/server.properties
fi
exec $run kafka.Kafka /tmp/server.properties
