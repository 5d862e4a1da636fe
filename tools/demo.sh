#!/usr/bin/env bash
# From the shipped checkpoint to an emulated Cortex-M4F that classifies real images:
# quantizes, evaluates on all 10,000 test images, runs the firmware, shows the report.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/setup.sh
setup demo

echo "== Quantizing models/cct_2_3x2_fmnist/best.mpk (the first build takes some minutes)"
cargo tools quantize models/cct_2_3x2_fmnist/best.mpk --out model.pvit --json target/demo-drift.json

echo "== What is in the artifact"
cargo tools inspect model.pvit

echo "== Running it on an emulated Cortex-M4F"
cargo firmware run --board mps2-an386 --model model.pvit --json target/demo-firmware.json

echo "== Done: model.pvit, target/demo-drift.json, target/demo-firmware.json"
