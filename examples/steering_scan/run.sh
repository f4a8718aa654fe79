#!/usr/bin/env bash
# The steering scan of docs/steering.md on a tiny organism, from its logs to ranks among random vectors.
#   bash examples/steering_scan/run.sh ORGANISM CONCEPT OUT
# ORGANISM: a directory of `inspect-af organism train`; CONCEPT: expectation or consequence. Interrupted, it goes on.
set -euo pipefail
organism=$(realpath "$1") concept=$2 out=$3
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
mkdir -p "$out" && cd "$out"
judge=af-simulated-judge/keyword

# In-context pairs: the organism's own replies, sorted by a judge's concept scores.
[ -e in-context.jsonl ] || {
  inspect eval-set inspect_af/alignment_faking --model "af-hf/$organism" --model-role "grader=$judge" \
    -T judges=concept --epochs 4 --limit 240 --log-dir logs-pairs --display none
  inspect-af steering pairs ic logs-pairs --concept "$concept" --out in-context.jsonl
}
# Pairs in the organism's own world: what is recalled, one pole against the other.
[ -e recall.jsonl ] || inspect-af organism pairs --concept "$concept" --out recall.jsonl

for pairs in in-context recall; do
  inspect-af steering activations $pairs.jsonl --model "$organism" --out $pairs.activations.safetensors
  [ -e $pairs.safetensors ] || inspect-af steering fit $pairs.activations.safetensors --estimator regression --out $pairs.safetensors
done
[ -e controls ] || inspect-af steering controls recall.safetensors --out controls --n 20

# How far can each layer be pushed before replies stop parsing? No controls, no effects yet. A reply has about 80 tokens;
# one that was pushed too far would go on to the end of the context.
inspect-af steering sweep --model "af-hf/$organism" --vectors in-context.safetensors recall.safetensors \
  --doses -0.8,-0.4,-0.2,0.2,0.4,0.8 --layers 0 1 2 all --requests mini --max-tokens 200 --grader "$judge" --out scan --log-dir scan/logs --display none
# Both vectors at one layer against 20 random vectors of the same dose.
inspect-af steering sweep --model "af-hf/$organism" --vectors in-context.safetensors recall.safetensors --controls controls/ \
  --doses -0.4,0.4 --layers 1 --requests mini --epochs 2 --max-tokens 200 --grader "$judge" --out ranks --log-dir ranks/logs --display none
# The scan of `expectation` showed most at the last layer. That is tested on replies of its own.
inspect-af steering sweep --model "af-hf/$organism" --vectors recall.safetensors --controls controls/ --run-seed 1 \
  --doses -0.4,0.4 --layers 2 --requests mini --epochs 2 --max-tokens 200 --grader "$judge" --out confirm --log-dir confirm/logs --display none
python "$here/table.py" scan/sweep.json ranks/sweep.json confirm/sweep.json > steps.csv
