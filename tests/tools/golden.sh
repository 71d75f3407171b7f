#!/bin/sh
# golden.sh - computes the reference values of tests/golden again, in a Python of its own.
#
# It takes a few GB of disk for PyTorch and transformers, in build/golden; nothing else is touched.
set -eu
cd "$(dirname "$0")/../.."
[ ! -x tests/golden/make.sh ] || exec tests/golden/make.sh
wanted=tests/golden/requirements.txt python=build/golden/bin/python
command -v python3 >/dev/null || {
    echo 'missing: python3; to install: sudo apt-get install -y python3-venv' >&2
    exit 1
}
mkdir -p build
if ! cmp -s $wanted build/golden/installed; then
    rm -rf build/golden
    python3 -m venv build/golden || {
        echo 'to install: sudo apt-get install -y python3-venv' >&2
        exit 1
    }
    $python -m pip install --quiet -r $wanted
    cp $wanted build/golden/installed # last, so that an install cut short is done again
fi
$python tests/golden/generate.py
$python tests/golden/bfloat16.py
[ ! -f tests/golden/tokenizer.py ] || $python tests/golden/tokenizer.py
