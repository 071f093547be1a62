# A stand-in for apache/kafka where no image can be pulled: the same jars and settings (KAFKA_…), our Java runtime.
FROM hourbook-debian:local
COPY jars /opt/kafka/jars
COPY java-runtime /opt/java
COPY kafka-entry.sh /entry.sh
RUN mkdir -p /var/lib/kafka/data
EXPOSE 9092
ENTRYPOINT ["/bin/sh", "/entry.sh"]
