#!/bin/sh
# Makes the cluster, its owner and its database on first use, and becomes the server.
set -eu
data=/var/lib/postgresql/data
if [ ! -f "$data/PG_VERSION" ]; then
    initdb -D "$data" -U "$POSTGRES_USER" -E UTF8 --locale=C --auth-host=scram-sha-256 --auth-local=trust
    echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
    printf '%s\n' "alter role \"$POSTGRES_USER\" password '$POSTGRES_PASSWORD'" "create database \"$POSTGRES_DB\"" |
        postgres --single -D "$data" postgres
fi
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
