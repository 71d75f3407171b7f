#!/bin/bash
# h200.sh [BUILD] - the published sizes of Phi-3.5-mini under the debugger on one GPU, beside
# transformers with the same weights: prompts, generation, memory, logits.
#
# Makes a checkpoint with random bf16 weights in $WORK (/tmp/midpass-h200), 7.6 GB. PROMPTS names the
# lengths ("512 4096 32768 131072"), PARTS what is measured (load prompts edits breakpoints exact maps
# logits); NO_TRANSFORMERS=1 leaves transformers out. Takes PyTorch and transformers.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build}
export WORK=${WORK:-/tmp/midpass-h200} MIDPASS=$build/midpass
mkdir -p "$WORK"
exec python3 tests/bench/h200.py
