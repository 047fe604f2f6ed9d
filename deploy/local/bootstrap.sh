#!/usr/bin/env bash
# Makes .venv with what requirements/app.txt or dev.txt lists: `bootstrap.sh app|dev`.
# Needs Debian's python3.11 only; a second run with the same locks takes no time.
set -euo pipefail
umask 022
cd "$(dirname "$0")/../.."
wanted="${1:-app}"

fail() {
    echo "bootstrap: $1" >&2
    exit 1
}

# Services run as a user of their own when started by root. Where that user cannot look into the checkout (below a 0700
# home), environment and state lie outside, and .venv and .local point there. `nobody` stands for that user here.
place_outside_of_private_home() {
    [ "$(id -u)" = 0 ] || return 0
    setpriv --reuid=65534 --regid=65534 --clear-groups test -r "$PWD/pyproject.toml" 2>/dev/null && return 0
    local outside
    outside="/var/lib/inferhouse/$(pwd -P | sha256sum | cut -c1-12)"
    for name in .local .venv; do
        [ -e "$name" ] && continue
        mkdir -p "$outside/${name#.}"
        ln -sfn "$outside/${name#.}" "$name"
    done
}

# Debian's own interpreter first: one in root's home cannot be run by the services' user.
find_python() {
    local candidate
    for candidate in /usr/bin/python3.11 python3.11; do
        command -v "$candidate" >/dev/null && command -v "$candidate" && return 0
    done
    fail "Python 3.11 is missing: apt-get install python3.11 python3.11-venv"
}

install_with_apt() {
    [ "$(id -u)" = 0 ] || fail "$1 is missing: ask an administrator for \`apt-get install $1\`"
    echo "bootstrap: installing $1"
    apt-get install -qq -y "$1" >/dev/null 2>&1 && return 0
    if ! { apt-get -qq update && apt-get install -qq -y "$1" >/dev/null; }; then
        fail "cannot install $1: no network to Debian's packages?"
    fi
}

make_venv() {
    local python
    python="$(find_python)"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_with_apt python3.11-venv
    "$python" -m venv --clear "$(readlink -f .venv)"
    .venv/bin/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt ||
        fail "cannot install uv: no network to the Python package index?"
}

# What dev.txt lists contains what app.txt lists, at the same versions: an environment for tests serves `make up` as well.
grep -q '^dev ' .venv/inferhouse-lock 2>/dev/null && wanted=dev
stamp="$wanted $(cat requirements/app.txt "requirements/$wanted.txt" | sha256sum | cut -c1-32) $(pwd -P)"
[ "$(cat .venv/inferhouse-lock 2>/dev/null)" = "$stamp" ] && exit 0

started=$(date +%s)
place_outside_of_private_home
mkdir -p .local .venv
if ! [ -x .venv/bin/uv ] || ! .venv/bin/python -c '' 2>/dev/null; then
    make_venv
fi
.venv/bin/python -m deploy.local.packages .venv "requirements/$wanted.txt" ||
    fail "cannot install requirements/$wanted.txt (see above)"
# On the path of every program of the environment, as an editable install would be, and without a build.
pwd -P >"$(echo .venv/lib/python3.*/site-packages)/inferhouse.pth"
echo "$stamp" >.venv/inferhouse-lock
echo "bootstrap: .venv has requirements/$wanted.txt, $(($(date +%s) - started)) s"
