# Runs main.sh in a folder for repositories; the files of the request are in /sandbox.
mkdir -p /tmp/work && cd /tmp/work && exec sh /sandbox/main.sh "$@"
