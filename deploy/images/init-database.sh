#!/bin/sh
# Run once by the database image, in an empty data folder: the owner is no superuser, but makes the service roles.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$OWNER_PASSWORD" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
create role inferhouse_owner login createrole password :'password';
alter role inferhouse_owner set createrole_self_grant = 'set, inherit';
create database inferhouse owner inferhouse_owner;
SQL
