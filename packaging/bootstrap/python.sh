#!/bin/sh
# Runs a set-up script with the newest Python that Primum supports: python.sh SCRIPT [ARGUMENT...]
#
# PRIMUM_PYTHON names another one. A Python that can make environments by itself goes before a newer
# one that cannot: some distributions package that part apart. -I keeps the caller's PYTHONPATH,
# PYTHONHOME and user packages out.

supported='import sys; sys.exit(sys.version_info < (3, 11))'
complete='import sys, ensurepip, venv; ensurepip.bootstrap; sys.exit(sys.version_info < (3, 11))'

if [ -n "$PRIMUM_PYTHON" ]; then
    if "$PRIMUM_PYTHON" -I -c "$supported" 2>/dev/null; then
        exec "$PRIMUM_PYTHON" -I "$@"
    fi
    echo "python: PRIMUM_PYTHON=$PRIMUM_PYTHON is not a Python 3.11 or newer; name another or unset it" >&2
    exit 3
fi

for test in "$complete" "$supported"; do
    for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -I -c "$test" 2>/dev/null; then
            exec "$candidate" -I "$@"
        fi
    done
done

echo "python: no Python 3.11 or newer on the PATH; install one, or name it: make PRIMUM_PYTHON=/path/to/python3" >&2
exit 3
