# Runs main.sh in a folder for repositories; the files of the request are in /sandbox. HOME is writable, for
# git config --global.
export HOME=/tmp/home
mkdir -p "$HOME" /tmp/work && cd /tmp/work && exec sh /sandbox/main.sh "$@"
