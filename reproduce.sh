#!/usr/bin/env bash
# The main job in one command, from a bare machine: train, score base and tuned, write the card and the release folder.
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'TEXT'
usage: ./reproduce.sh [RECIPE] [--upload ORG/NAME] [--smoke] [--setup]

  RECIPE             a name in training/recipes/ or a file (default: smollm2-demo, minutes on two CPU cores)
  --upload ORG/NAME  then publish the release on the Hub, after its checks (needs `hf auth login` or HF_TOKEN)
  --smoke            2 steps and 4 prompts of each kind: does everything run here? A few minutes, into runs/NAME-smoke
  --setup            only make .venv and install requirements.txt

What is done is reused; an interrupted run continues where it stopped.
TEXT
}

fail() { echo "error: $1" >&2; exit 2; }

recipe=smollm2-demo upload="" smoke="" setup_only="" named=""
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage; exit 0 ;;
        --setup) setup_only=yes ;;
        --smoke) smoke=yes ;;
        --upload) [ $# -ge 2 ] || fail "--upload needs ORG/NAME."; upload=$2; shift ;;
        --upload=*) upload=${1#*=} ;;
        -*) fail "unknown option $1. See ./reproduce.sh --help" ;;
        *) [ -z "$named" ] || fail "two recipes: $recipe and $1. Give one."; recipe=$1 named=yes ;;
    esac
    shift
done
case "$recipe" in
    /*) file=$recipe ;;
    */* | *.yaml | *.yml) file=$recipe; [ ! -f "$called_from/$recipe" ] || file=$called_from/$recipe ;;
    *) file=training/recipes/$recipe.yaml ;;
esac
[ -f "$file" ] || fail "no recipe $file. Shipped: $(cd training/recipes && echo *.yaml | sed 's/\.yaml//g')"
name_form='^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$'
[ -z "$upload" ] || [[ $upload =~ $name_form ]] || fail "--upload '$upload': give ORG/NAME."

# Nothing outside .venv is touched: a torch elsewhere stays as it is.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_USER
if ! [ -x .venv/bin/python ] || ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
    python=$(command -v python3.11 || command -v python3 || true)
    [ -n "$python" ] || fail "no python3 found. Install Python 3.11."
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
        || fail "$python is $("$python" --version); Python 3.11 to 3.13 is needed."
    echo "making .venv with $("$python" --version)"
    "$python" -m venv .venv || fail "cannot make .venv. On Debian: apt install python3-venv"
fi
stamp=.venv/requirements.installed
if ! cmp -s requirements.txt "$stamp"; then
    echo "installing requirements.txt into .venv"
    .venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt
    cp requirements.txt "$stamp.part" && mv "$stamp.part" "$stamp"
fi
[ -z "$setup_only" ] || { echo ".venv is ready."; exit 0; }

py=.venv/bin/python
if [ -n "$upload" ] && ! $py -c 'import sys; from huggingface_hub import get_token; sys.exit(not get_token())'; then
    fail "--upload needs a token. Run .venv/bin/hf auth login, or set HF_TOKEN."
fi
name=$($py -m training.recipe "$file")  # what the recipe calls it, else the file's name
train=() evaluate=()
if [ -n "$smoke" ]; then
    name=$name-smoke
    train=(--max_steps 2 --name "$name") evaluate=(--limit 4 --max-new-tokens 24)
fi
run=runs/$name

echo "== 1/4 train: $file → $run/model"
$py -m training.train "$file" --output "$run" --resume ${train[@]+"${train[@]}"}
base=$($py -c 'import json, sys; print(json.load(open(sys.argv[1]))["base_model"]["model"])' "$run/training.json")
echo "== 2/4 eval: $base and $run/model → $run/eval"
$py -m eval.run "$run/model" --base "$base" ${evaluate[@]+"${evaluate[@]}"}
echo "== 3/4 card and release → $run/release"
$py -m model_card.build "$run" ${upload:+--repo-id "$upload"}
if [ -n "$upload" ]; then
    echo "== upload: $run/release → $upload"
    $py upload.py "$run" --repo-id "$upload"
fi
echo "== 4/4 the release, loaded with plain transformers"
$py -m inference.compare "$base" "$run/release" --prompt "请用一句话介绍长城。"
$py -m eval.report "$run/eval"
[ -n "$upload" ] || echo "to publish it: ./reproduce.sh $recipe --upload ORG/NAME"
