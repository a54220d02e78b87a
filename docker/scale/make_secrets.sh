#!/bin/sh
# Make the passwords of broker and database, once: sh docker/scale/make_secrets.sh [FOLDER]
# The folder is for its owner alone; the files in it can be read by the containers' users, who get one or two of them each.
set -eu

folder=${1:-$(dirname "$0")/secrets}
umask 077
if ! mkdir "$folder"; then
    echo "Secrets are made once: broker and database keep the passwords of their first start." >&2
    exit 1
fi

password() {
    od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'
}
secret() {
    cat >"$folder/$1"
    chmod 0444 "$folder/$1"
}

broker=$(password)
database=$(password)
printf 'default_user = echo2pheno\ndefault_pass = %s\n' "$broker" | secret broker_login.conf
printf 'amqp://echo2pheno:%s@echo2pheno-broker:5672//' "$broker" | secret broker_url
printf '%s' "$database" | secret database_password
printf 'postgresql+psycopg://echo2pheno:%s@echo2pheno-database:5432/echo2pheno' "$database" | secret database_url
echo "Made in $folder: broker_login.conf, broker_url, database_password, database_url"
